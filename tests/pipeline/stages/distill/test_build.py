"""A student from a config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from data.errors import FlipkdError
from models.student.student import Batch, Student, load_base, pair_batch
from pipeline.stages.distill.build import build
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.job import train_job
from tests.models.student.architectures import WORKS, tiny_lm
from tests.pipeline.stages.distill.jobs import adapter, job
from tests.waiting import size, waiting


def test_a_module_that_the_model_has_not_is_named(base: Path) -> None:
    config = DistillConfig.model_validate({"model": str(base), "sites": {"modules": ["qq_proj"]}})
    with pytest.raises(FlipkdError, match=r"^distill: no linear layer is called qq_proj"):
        build(*load_base(base), config)


def gradients(student: Student, batch: Batch, *, similarity_alone: bool) -> tuple[dict[str, Tensor], int]:
    """Of a loss of both views, by parameter; and how many numbers wait for the backward pass."""
    student.train()
    student.similarity_trains_encoder_alone = similarity_alone
    for name, parameter in student.named_parameters():
        if "lora_B" in name and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    torch.manual_seed(0)  # of the dropout
    with waiting(student) as kept:
        z, logits = student(batch)
    (logits[:, 1].sum() - logits[:, 0].sum() + (z * torch.linspace(-1, 1, z.numel()).view_as(z)).sum()).backward()
    found = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad(set_to_none=True)
    return found, size(kept)


@pytest.mark.parametrize("name", WORKS)
def test_layers_computed_again_have_the_same_gradients(base: Path, name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    settings, site = WORKS[name]
    found = []
    for again in (False, True):
        config = DistillConfig.model_validate(
            {
                "model": name,
                "gradient_checkpointing": again,
                "sites": {"modules": [site]},
                "lora": {"modules": [site], "dropout": 0.2},
            }
        )
        torch.manual_seed(1)  # of A
        student = build(tiny_lm(name, settings, len(tokenizer)), tokenizer, config)
        ids = student.prompt.texts(["the card", "my child has a fever", "lost", "same text"])
        batch = pair_batch(student.prompt, ids[:2], ids[2:])
        found.append([gradients(student, batch, similarity_alone=alone) for alone in (False, True)])
    for (plain, waits), (again, waits_less) in zip(*found, strict=True):
        assert plain.keys() == again.keys()
        for key in plain:
            torch.testing.assert_close(again[key], plain[key], rtol=1e-5, atol=1e-7)
        assert waits_less < waits / 2


def test_it_may_begin_at_the_cut(base: Path, tmp_path: Path) -> None:
    """With kept activations, in a whole training: the same student to the last digit."""
    one = {"lora": {"rank": 4, "alpha": 8, "last_layers": 1}, "epochs": 1, "text_epochs": 1}
    for again in (False, True):
        train_job(job(tmp_path / str(again), base, **one, gradient_checkpointing=again))
        assert list((tmp_path / str(again) / "activations").glob("*/hidden.npy"))
    for name, tensor in adapter(tmp_path / "True").items():
        np.testing.assert_array_equal(tensor, adapter(tmp_path / "False")[name])
