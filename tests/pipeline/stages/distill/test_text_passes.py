"""Variants that differ in the terms for pairs alone share their passes over texts, and are the same to the bit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.stages.distill import loop as training
from pipeline.stages.distill.activations import make_batch
from pipeline.stages.distill.job import train_job
from pipeline.stages.distill.processes import JOB, train_on_processes
from tests.pipeline.stages.distill.jobs import adapter, job, training_log

NO_MCL = {"weights": {"mcl": 0}}


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each batch of a step was made of."""
    asked: list[str] = []

    def remembered(student: Any, data: Any, kind: str, *rest: Any) -> Any:
        asked.append(kind)
        return make_batch(student, data, kind, *rest)

    monkeypatch.setattr(training, "make_batch", remembered)
    return asked


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "text_passes").glob("*/checkpoint.safetensors"))


def test_a_variant_goes_on_from_anothers_passes_to_the_same_student(
    base: Path, tmp_path: Path, kinds: list[str]
) -> None:
    alone = train_job(job(tmp_path / "alone", base, **NO_MCL))  # dropout is on
    assert (kinds.count("texts"), alone["steps_taken_over"]) == (8, 0)
    train_job(job(tmp_path / "shared", base))
    kinds.clear()
    shared = train_job(job(tmp_path / "shared", base, **NO_MCL))
    assert (kinds.count("texts"), shared["steps_taken_over"]) == (0, 8)
    # What was taken over is part of its cost.
    assert alone["cost"]["tokens"] == shared["cost"]["tokens"] > 0
    assert len(kept(tmp_path / "shared")) == 1
    assert training_log(tmp_path / "shared").equals(training_log(tmp_path / "alone"))
    for name, tensor in adapter(tmp_path / "alone").items():
        np.testing.assert_array_equal(adapter(tmp_path / "shared")[name], tensor)


@pytest.mark.parametrize(
    "changes",
    [
        {"contrastive": "arccse"}, {"margins": {"positive": 0.0}}, {"soft_targets": 0.0}, {"balance": "scale"},
        {"sites": {"trains": "encoder"}}, {"evaluations": 1}, {"weights": {"ce": 2.0}}, {"epochs": 1},
        {"batch_pairs": 4},
    ],
)  # fmt: skip
def test_what_concerns_pairs_alone_is_shared(base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    train_job(job(tmp_path, base))
    assert train_job(job(tmp_path, base, **changes))["steps_taken_over"] == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e-3}, {"decay": "together"}, {"text_epochs": 1}, {"weights": {"dist": 0.5}},
        {"max_length": 6},
        {"dist_temperature": 0.1}, {"max_grad_norm": 0.5}, {"clip": "together"}, {"warm_up": {"epochs": 1}},
        {"sites": {"modules": ["v_proj"]}}, {"lora": {"rank": 4}}, {"batch_texts": 8}, {"weight_decay": 0.1},
    ],
)  # fmt: skip
def test_what_reaches_the_texts_is_not(base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    train_job(job(tmp_path, base))
    assert train_job(job(tmp_path, base, **changes))["steps_taken_over"] == 0


def test_where_the_rate_decays_once_the_number_of_pairs_reaches_the_texts(base: Path, tmp_path: Path) -> None:
    train_job(job(tmp_path, base, decay="together"))
    assert train_job(job(tmp_path, base, decay="together", epochs=1))["steps_taken_over"] == 0


def test_another_seed_or_teacher_makes_its_own(base: Path, tmp_path: Path) -> None:
    work = job(tmp_path, base)
    train_job(work)
    assert train_job(replace(work, seed=6))["steps_taken_over"] == 0
    assert train_job(replace(work, identity="sha256:another"))["steps_taken_over"] == 0
    assert train_job(replace(work, version=1))["steps_taken_over"] == 0
    assert len(kept(tmp_path)) == 4


def test_students_at_a_time_do_not_tread_on_each_other(base: Path, tmp_path: Path) -> None:
    """Four processes end the same passes at about the same time, and keep one checkpoint."""
    begun = []
    for number in range(4):
        work = replace(job(tmp_path / f"{number}", base), text_passes=tmp_path / "text_passes")
        (tmp_path / f"{number}.json").write_bytes(JOB.dump_json(work))
        begun.append(
            subprocess.Popen([sys.executable, "-m", "pipeline.stages.distill.worker", tmp_path / f"{number}.json"])
        )
    assert [process.wait(120) for process in begun] == [0, 0, 0, 0]
    assert [path.name for path in tmp_path.glob("text_passes/*/*")] == ["checkpoint.safetensors"]
    assert all(training_log(tmp_path / f"{n}").equals(training_log(tmp_path / "0")) for n in range(1, 4))


def test_none_is_kept_where_none_is_wanted_or_made(base: Path, tmp_path: Path) -> None:
    train_job(job(tmp_path, base, keep_text_passes=False))
    train_job(job(tmp_path, base, text_epochs=0))
    train_job(job(tmp_path, base, objective="sft"))
    train_on_processes(job(tmp_path, base, processes=2))  # a checkpoint holds the random state of one
    assert not kept(tmp_path)


def test_one_that_cannot_be_read_is_made_again(
    base: Path, tmp_path: Path, flipkd_log: pytest.LogCaptureFixture
) -> None:
    train_job(job(tmp_path, base))
    whole = kept(tmp_path)[0].read_bytes()
    kept(tmp_path)[0].write_bytes(whole[:1000])
    assert train_job(job(tmp_path, base))["steps_taken_over"] == 0
    assert any("cannot be read" in record.msg for record in flipkd_log.records)
    assert train_job(job(tmp_path, base))["steps_taken_over"] == 8
