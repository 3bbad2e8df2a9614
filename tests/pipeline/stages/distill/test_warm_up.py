"""The encoder's warm-up."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipeline.stages.distill.job import train_job
from tests.pipeline.stages.distill.jobs import job
from tests.tiny import tiny_student

ADAPTER = {"rank": 8, "alpha": 16, "last_layers": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student", layers=3)


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
        train_job(job(tmp_path, base, lora=ADAPTER, epochs=1, objective="sft"))
    assert not any("warm-up" in record.msg for record in flipkd_log.records)
