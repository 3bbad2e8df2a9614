"""What attribution reads of a layer is what the encoder reads there, however it pools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.student.flipkd_student import FlipkdStudent
from models.student.student import divided, load_base
from pipeline.stages.attribution.run import pooled_inputs
from tests.models.student.test_student import PAIRS, SPEC, new_student
from tests.tiny import tiny_student

TEXTS = [text for pair in PAIRS for text in pair]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


def student_of(base: Path, pooling: str) -> tuple[FlipkdStudent, dict[str, torch.Tensor]]:
    """A student whose queries, if it has any, have moved far from 0; and its adapter."""
    trained = new_student(base, pooling=pooling)
    if trained.queries is not None:
        torch.nn.init.normal_(trained.queries, std=20.0)
    weights, queries = divided(trained.adapter())
    settings = {"template": SPEC.template, "answers": list(SPEC.answers), "max_length": SPEC.max_length}
    settings |= {"sites": trained.sites, "pooling": pooling, "scaling": SPEC.alpha / SPEC.rank}
    return FlipkdStudent(*load_base(base), weights, settings, queries=queries or None).eval(), weights


@pytest.mark.parametrize("pooling", ["mean", "last", "attention"])
def test_the_sites_together_are_the_encoder(base: Path, tmp_path: Path, pooling: str):
    student, weights = student_of(base, pooling)
    found = pooled_inputs(student, student.prompt.texts(TEXTS), tmp_path / "inputs.npy")
    parts = [
        torch.from_numpy(np.array(found[site])) @ weights[f"base_model.model.{site}.lora_A.weight"].T
        for site in student.settings["sites"]
    ]
    with torch.no_grad():
        z = student(student.preprocess(TEXTS))["sentence_embedding"]
    torch.testing.assert_close(torch.nn.functional.normalize(torch.cat(parts, 1), dim=1), z, atol=1e-5, rtol=1e-4)


def test_with_attention_other_layers_are_read_as_the_mean(base: Path, tmp_path: Path):
    found = {}
    for pooling in ("mean", "attention"):
        student, _ = student_of(base, pooling)
        found[pooling] = pooled_inputs(student, student.prompt.texts(TEXTS), tmp_path / f"{pooling}.npy")
    sites = student.settings["sites"]
    assert found["mean"].keys() == found["attention"].keys() > set(sites)
    for name, mean in found["mean"].items():
        same = np.allclose(mean, found["attention"][name], atol=1e-5)
        assert same == (name not in sites), name
    assert (
        found["attention"]["model.layers.0.self_attn.k_proj"]
        is found["attention"]["model.layers.0.self_attn.v_proj"]
    )
