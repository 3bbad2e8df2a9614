"""The reading side: what comes out of the artifact is what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AutoModelForCausalLM

from pipeline.contract.stage import Context
from pipeline.stages.distill.artifact import distilled_student, read_adapter, score_as_trained, untrained
from pipeline.stages.distill.job import Job, train_job
from pipeline.store.store import Store
from tests.pipeline.stages.distill.jobs import job, probability_of_yes
from tests.stores import write_manifest
from tests.tiny import tiny_student

KEPT: dict[str, Any] = {"lora": {"rank": 4, "alpha": 8, "last_layers": 1}}
# Queries of sites below the adapters need every token, so nothing is kept.
NOT_KEPT: dict[str, Any] = KEPT | {"sites": {"pooling": "attention"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student", layers=3)


def distilled(folder: Path, base: Path, changes: dict[str, Any]) -> tuple[Job, Context]:
    """A short training whose `out` is an artifact, and a context to read it in."""
    asked = job(folder, base, epochs=1, text_epochs=1, learning_rate=0.02, **changes)
    summary = train_job(asked)
    write_manifest(asked.out, "distill", asked.config.model_dump(mode="json", exclude={"model"}), summary)
    return asked, Context(0, Path(), Path(), Store(folder / "store"), {"distill.model": str(base)})


ONE_ORDER = KEPT | {"prompt": {"orders": "one"}}
SIDES = KEPT | {"prompt": {"template": "Text: {a}\nEntry: {b}\nAnswered?", "turned": "Text: {b}\nAsked: {a}\nSo?"}}


@pytest.mark.parametrize("changes", [KEPT, NOT_KEPT, ONE_ORDER, SIDES])
def test_scores_are_pefts_and_the_exported_modules(base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    """The decoder against peft, a prompt at a time; the encoder against the module that is exported."""
    asked, context = distilled(tmp_path, base, changes)
    pairs = pl.read_parquet(asked.filtered).filter(split="dev").head(9)
    decoder, encoder = score_as_trained(asked.out, pairs, asked.embeddings, 4, context)
    assert bool(list(context.store.activations.glob("*/hidden.npy"))) == (changes is not NOT_KEPT)

    student = distilled_student(asked.out, context)
    texts = dict(pl.read_parquet(asked.embeddings).select("text_id", "text").iter_rows())
    named = [(texts[a], texts[b]) for a, b in pairs.select("text_a_id", "text_b_id").iter_rows()]
    scores = student.match(named)
    np.testing.assert_allclose(encoder, scores["encoder"], atol=1e-5)
    np.testing.assert_allclose(decoder, scores["decoder"], atol=1e-5)
    assert np.std(encoder) > 0.01

    lm: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), asked.out / "adapter").eval()
    for row, pair in enumerate(named):
        yes = probability_of_yes(lm, student.prompt, *student.prompt.texts(pair))
        assert decoder[row] == pytest.approx(yes, abs=1e-5)


def test_untrained_it_is_the_base_with_another_a(base: Path, tmp_path: Path) -> None:
    """B is 0, so the decoder is the base's; queries are 0, so that attention is the mean; A is as peft begins."""
    asked, context = distilled(tmp_path, base, NOT_KEPT)
    trained = read_adapter(asked.out)
    stored = load_file(asked.out / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(trained[name], tensor) for name, tensor in stored.items())
    begun = untrained(trained, 3)
    assert {name: tensor.shape for name, tensor in begun.items()} == {n: t.shape for n, t in trained.items()}
    assert all(torch.equal(tensor, begun[name]) for name, tensor in untrained(trained, 3).items())
    for name, tensor in begun.items():
        if ".lora_B." in name:
            assert not tensor.any()
        else:  # uniform within 1 / sqrt(inputs)
            bound = tensor.shape[1] ** -0.5
            assert 0.8 * bound < tensor.abs().max() <= bound
            assert not torch.equal(tensor, untrained(trained, 4)[name])

    student = distilled_student(asked.out, context, weights=begun)
    scores, text = student.match([("the card", "a fever")]), "lost the card"
    lm = AutoModelForCausalLM.from_pretrained(base).eval()
    yes = probability_of_yes(lm, student.prompt, *student.prompt.texts(["the card", "a fever"]))
    assert scores["decoder"][0] == pytest.approx(yes, abs=1e-5)
    with torch.no_grad():
        hidden: list[torch.Tensor] = []
        for layer in lm.model.layers:
            layer.self_attn.q_proj.register_forward_pre_hook(lambda _m, args: hidden.append(args[0][0]))
        lm(input_ids=torch.tensor([student.prompt.alone(student.prompt.texts([text])[0])]))
    start = len(student.prompt.head)
    encoders = [begun[f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_A.weight"] for n in range(3)]
    parts = [(x[start:] @ a.T).mean(0) for x, a in zip(hidden, encoders, strict=True)]
    expected = nn.functional.normalize(torch.cat(parts), dim=0)
    vector = SentenceTransformer(modules=[student], device="cpu").encode([text])[0]
    np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)
