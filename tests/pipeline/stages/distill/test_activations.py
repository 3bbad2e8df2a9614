"""Kept activations: another way to the same numbers, and what is kept is used again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

from models.student.student import Student, load_base
from pipeline.stages.distill.activations import keep_activations, make_batch
from pipeline.stages.distill.build import build
from pipeline.stages.distill.job import train_job
from pipeline.stages.distill.pair_data import PairData, read_pairs
from tests.pipeline.stages.distill.jobs import job
from tests.tiny import tiny_student

ADAPTER = {"rank": 8, "alpha": 16, "last_layers": 1}
IDENTITY = {"base": "sha256:tiny", "numbers": "float32 fp32"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student", layers=3)


@pytest.fixture(scope="module")
def begun(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Student, PairData]:
    """A student before its first step, and data of which some texts stand in no pair."""
    asked = job(tmp_path_factory.mktemp("begun"), base, lora=ADAPTER)
    rows = pl.read_parquet(asked.filtered)
    rows.with_columns(kept=pl.int_range(pl.len()) < 20).write_parquet(asked.filtered)
    student = build(*load_base(base), asked.config).eval()
    return student, read_pairs(asked.filtered, asked.embeddings, student.prompt, all_texts=True)[0]


@pytest.mark.parametrize("kind", ["texts", "pairs"])
def test_a_batch_holds_the_hidden_states_of_its_prompts(
    begun: tuple[Student, PairData], tmp_path: Path, kind: str
) -> None:
    """Against the whole model's, prompt by prompt; texts that begin a pair, and texts that stand in none."""
    student, data = begun
    kept = keep_activations(student, data, tmp_path, IDENTITY, hidden=True)
    rows = np.array([0, int(data.unpaired[0]), int(data.unpaired[-1]), int(data.first[3])])
    rows = rows if kind == "texts" else np.array([7, 0, 19])
    batch = make_batch(student, data, kind, rows, kept)
    plain = make_batch(student, data, kind, rows)
    assert plain.hidden is None
    assert torch.equal(batch.ids, plain.ids)
    assert batch.hidden is not None
    assert student.cut == 2
    trunk = student.lm.get_base_model().base_model
    with torch.no_grad():
        for ids, mask, hidden in zip(batch.ids, batch.mask, batch.hidden, strict=True):
            prompt = ids[mask.bool()]
            expected = trunk(input_ids=prompt[None], output_hidden_states=True).hidden_states[student.cut][0]
            torch.testing.assert_close(hidden[: len(prompt)], expected, rtol=1e-4, atol=1e-5)
            assert not hidden[len(prompt) :].any()
        for whole, short in zip(student(plain), student(batch), strict=True):
            torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-5)


def test_what_decides_the_numbers_decides_the_folder(begun: tuple[Student, PairData], tmp_path: Path) -> None:
    student, data = begun

    def folders() -> set[str]:
        return {path.name for path in tmp_path.iterdir() if path.is_dir()}

    keep_activations(student, data, tmp_path, IDENTITY, hidden=True)
    first = folders()
    keep_activations(student, data, tmp_path, IDENTITY, hidden=True)
    assert folders() == first
    keep_activations(student, data, tmp_path, IDENTITY | {"numbers": "float32 bf16"}, hidden=True)
    assert len(folders()) == 2
    kept = keep_activations(student, data, tmp_path, IDENTITY, hidden=False)
    assert kept.hidden is None
    assert len(folders()) == 3


def trained(folder: Path, base: Path, **changes: Any) -> tuple[dict[str, np.ndarray], pl.DataFrame]:
    train_job(job(folder, base, **({"lora": ADAPTER, "epochs": 1} | changes)))
    weights = load_file(folder / "out/adapter/adapter_model.safetensors")
    return weights, pl.read_parquet(folder / "out/training_log.parquet")


def test_kept_activations_give_the_same_student(base: Path, tmp_path: Path) -> None:
    kept, log = trained(tmp_path / "kept", base)
    plain, plain_log = trained(tmp_path / "plain", base, keep_activations=False)
    assert list((tmp_path / "kept/activations").glob("*/hidden.npy"))
    assert not list((tmp_path / "plain/activations").glob("*/hidden.npy"))
    assert kept.keys() == plain.keys()
    # Adam divides by the gradient's own size, so that rounding grows; the losses show that the steps are the same.
    np.testing.assert_allclose(log["loss"].to_numpy()[:10], plain_log["loss"].to_numpy()[:10], rtol=1e-4)
    np.testing.assert_allclose(
        log["gradient_norm"].to_numpy()[:10], plain_log["gradient_norm"].to_numpy()[:10], rtol=1e-3
    )
    for name, weight in kept.items():
        np.testing.assert_allclose(weight, plain[name], atol=2e-3, err_msg=name)


def test_another_run_takes_what_is_kept(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = trained(tmp_path, base)

    def written_again(*_: object, **__: object) -> None:
        raise AssertionError("the activations were there")

    monkeypatch.setattr("pipeline.stages.distill.activations.write_activations", written_again)
    second, _ = trained(tmp_path, base)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    with pytest.raises(AssertionError, match="were there"):
        trained(tmp_path, base, max_length=4)  # other tokens, other activations
