"""The warm-up and the kept activations: another way to the same numbers, and what is kept is used again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from pipeline.stages.distill.job import train_job
from tests.pipeline.stages.distill.test_run import job
from tests.tiny import tiny_student

ADAPTER = {"rank": 8, "alpha": 16, "last_layers": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student", layers=3)


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


def test_the_warm_up_alone_teaches_the_encoder(
    base: Path, tmp_path: Path, flipkd_log: pytest.LogCaptureFixture
) -> None:
    few = {"text_epochs": 0, "learning_rate": 1e-9, "evaluations": 1}
    cold = train_job(job(tmp_path / "cold", base, lora=ADAPTER, epochs=1, warm_up={"epochs": 0}, **few))
    with flipkd_log.at_level(logging.INFO):
        warm = train_job(job(tmp_path / "warm", base, lora=ADAPTER, epochs=1, warm_up={"epochs": 60}, **few))
    assert cold["dev_encoder_auroc"] + 0.1 < warm["dev_encoder_auroc"]
    said = next(record.args for record in flipkd_log.records if "warm-up took" in record.msg)
    # What the warm-up measured on kept activations is what the whole model then measures.
    assert said[1] == pytest.approx(warm["dev_encoder_auroc"], abs=1e-3)  # type: ignore[index]


def test_plain_fine_tuning_is_not_warmed_up(
    base: Path, tmp_path: Path, flipkd_log: pytest.LogCaptureFixture
) -> None:
    with flipkd_log.at_level(logging.INFO):
        trained(tmp_path, base, objective="sft")
    assert not any("warm-up" in record.msg for record in flipkd_log.records)
