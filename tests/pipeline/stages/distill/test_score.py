"""What a student in training says of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.student.student import load_base
from pipeline.stages.distill.build import build
from pipeline.stages.distill.pair_data import read_pairs
from pipeline.stages.distill.score import student_scores
from tests.pipeline.stages.distill.jobs import job, probability_of_yes


@pytest.mark.parametrize("batch_pairs", [1, 7, 100])
def test_scores_are_in_the_order_of_the_pairs_whatever_the_batch(
    base: Path, tmp_path: Path, batch_pairs: int
) -> None:
    """Against the causal LM itself, a prompt at a time, and A times the sites' inputs."""
    asked = job(tmp_path, base)
    student = build(*load_base(base), asked.config)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    pairs = read_pairs(asked.filtered, asked.embeddings, student.prompt)[1]
    decoder, encoder = student_scores(student, pairs, batch_pairs)
    assert decoder.shape == encoder.shape == (60,)
    prompt, lm = student.prompt, student.lm

    def vector(text: list[int]) -> torch.Tensor:
        inputs: list[torch.Tensor] = []
        layers = [lm.get_base_model().get_submodule(site) for site in student.sites]
        hooks = [layer.register_forward_pre_hook(lambda _m, args: inputs.append(args[0])) for layer in layers]
        lm(input_ids=torch.tensor([prompt.alone(text)]))
        for hook in hooks:
            hook.remove()
        start = len(prompt.head)
        parts = [(x[0, start:] @ a.T).mean(0) for x, a in zip(inputs, student.encoders(), strict=True)]
        return torch.nn.functional.normalize(torch.cat(parts), dim=0)

    with torch.no_grad():
        for n in (0, 13, 59):
            a, b = pairs.texts[pairs.first[n]], pairs.texts[pairs.second[n]]
            yes = probability_of_yes(lm, prompt, a, b)
            assert decoder[n] == pytest.approx(yes, abs=1e-5)
            assert encoder[n] == pytest.approx(float(vector(a) @ vector(b)), abs=1e-5)
