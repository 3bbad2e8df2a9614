"""The training of the student: it learns, it resumes as if nothing had been, the same seed gives the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.numpy import load_file

from data.errors import FlipkdError
from models.student.flipkd_student import QUERIES
from models.student.student import load_base
from pipeline.stages.distill import loop
from pipeline.stages.distill.build import build
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.job import train_job
from tests.pipeline.stages.distill.jobs import adapter, job, training_log


def test_the_same_job_gives_the_same_student(undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path):
    train_job(job(tmp_path, base))
    assert training_log(tmp_path).equals(training_log(undisturbed[0]))
    for name, tensor in adapter(undisturbed[0]).items():
        np.testing.assert_array_equal(adapter(tmp_path)[name], tensor)


def test_sft_trains_the_answer_alone(base: Path, tmp_path: Path):
    summary = train_job(job(tmp_path, base, objective="sft", epochs=1))
    log = pl.read_parquet(tmp_path / "out" / "training_log.parquet")
    assert summary["weights"] == {"ce": 1.0}
    assert log["mcl"].is_null().all()
    assert log["dist"].is_null().all()
    np.testing.assert_allclose(log["ce"], log["loss"])


def test_patience_stops_early(base: Path, tmp_path: Path):
    changes = {"evaluations": 12, "patience": 1, "learning_rate": 1e-9, "lora": {"rank": 4, "alpha": 4}}
    summary = train_job(job(tmp_path, base, **changes))
    log = pl.read_parquet(tmp_path / "out" / "training_log.parquet")
    assert summary["steps"] < 3 * 18
    assert log["dev_decoder_auroc"].drop_nulls().len() < 12


def test_the_precision_of_an_earlier_training_does_not_matter(
    undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path
):
    """On a GPU the teacher's trainer leaves bf16 to the whole process."""
    AcceleratorState._reset_state()
    Accelerator(mixed_precision="bf16")
    train_job(job(tmp_path, base))
    assert training_log(tmp_path).equals(training_log(undisturbed[0]))


def test_accelerate_forgets_its_precision_by_this_private_name() -> None:
    for precision in ("bf16", "no"):
        AcceleratorState._reset_state()
        assert Accelerator(mixed_precision=precision).mixed_precision == precision


def test_a_training_that_explodes_is_stopped(base: Path, tmp_path: Path):
    with pytest.raises(FlipkdError, match=r"lower distill.learning_rate"):
        train_job(job(tmp_path, base, learning_rate=1.0, lora={"rank": 4, "alpha": 1e30}))


def test_a_divided_batch_trains_the_same_student(base: Path, tmp_path: Path):
    plain = {"lora": {"rank": 8, "alpha": 16}, "epochs": 1, "text_epochs": 1}
    train_job(job(tmp_path / "whole", base, **plain))
    train_job(job(tmp_path / "divided", base, **plain, max_tokens=64))
    whole, divided = (training_log(tmp_path / name) for name in ("whole", "divided"))
    for column in ("loss", "ce", "mcl", "dist", "gradient_norm"):
        np.testing.assert_allclose(
            divided[column].drop_nulls().to_numpy()[:10], whole[column].drop_nulls().to_numpy()[:10], rtol=2e-3
        )
    found = adapter(tmp_path / "divided")
    assert all(np.allclose(found[name], a, atol=3e-3) for name, a in adapter(tmp_path / "whole").items())


@pytest.mark.parametrize("sites", [{"pooling": "attention"}, {"pooling": "attention", "last_layers": 1}])
def test_stopped_and_resumed_with_queries_and_a_budget_equals_undisturbed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sites: dict[str, Any]
):
    """Sites below the adapters too: then every step passes through all layers; else the lower ones are kept."""
    settings = {
        "sites": sites,
        "batch_tokens": 400,
        "epochs": 1,
        "lora": {"rank": 4, "alpha": 8, "last_layers": 1},
    }
    whole, stopped = job(tmp_path / "whole", base, **settings), job(tmp_path / "stopped", base, **settings)
    summary = train_job(whole)
    assert bool(list((tmp_path / "whole/activations").glob("*/hidden.npy"))) == ("last_layers" in sites)
    config = stopped.config.model_copy(update={"checkpoint_minutes": 1e-9})
    stopped = replace(stopped, config=config)
    update = loop._update
    updates: list[float] = []

    def until(optimizer: Any, rate: float) -> None:
        updates.append(rate)
        if len(updates) == 14:  # eight steps on texts, some on pairs
            raise KeyboardInterrupt
        update(optimizer, rate)

    monkeypatch.setattr(loop, "_update", until)
    with pytest.raises(KeyboardInterrupt):
        train_job(stopped)
    monkeypatch.setattr(loop, "_update", update)
    assert train_job(stopped)["steps"] == summary["steps"] > 14
    assert training_log(tmp_path / "stopped").equals(training_log(tmp_path / "whole"))
    expected, found = (load_file(tmp_path / name / "out" / QUERIES) for name in ("whole", "stopped"))
    assert expected.keys() == found.keys()
    for name, query in expected.items():
        np.testing.assert_array_equal(found[name], query)
        assert np.abs(query).max() > 0
    for name, tensor in adapter(tmp_path / "whole").items():
        assert "lora_" in name
        np.testing.assert_array_equal(adapter(tmp_path / "stopped")[name], tensor)


def test_the_encoder_is_clipped_on_its_own(base: Path) -> None:
    config = DistillConfig.model_validate({"model": str(base), "sites": {"modules": ["q_proj"]}})
    student = build(*load_base(base), config)
    parameters = [p for p in student.parameters() if p.requires_grad]
    assert loop.clip_groups(student, parameters, "together") == [parameters]
    encoder, others = loop.clip_groups(student, parameters, "apart")
    assert {id(p) for p in encoder} == {id(p) for p in student.encoders()}
    assert len(encoder) + len(others) == len(parameters)
    hidden = build(
        *load_base(base), DistillConfig.model_validate({"model": str(base), "sites": {"read": "hidden"}})
    )
    parameters = [p for p in hidden.parameters() if p.requires_grad]
    assert loop.clip_groups(hidden, parameters, "apart") == [parameters]


def test_large_similarity_losses_leave_the_answers_steps_alone(base: Path, tmp_path: Path) -> None:
    """With the encoder trained and clipped apart, the answer's adapters learn as if there were no other term."""
    apart = {"sites": {"modules": ["q_proj"], "trains": "encoder"}, "warm_up": {"epochs": 0}, "text_epochs": 0}
    # Modules without a site, so that A is no part of the answer's path.
    apart |= {"lora": {"rank": 4, "alpha": 8, "modules": ["v_proj", "o_proj"]}, "epochs": 1}
    found = {}
    for name, weights in {
        "with": {"ce": 1, "mcl": 10, "dist": 10},
        "without": {"ce": 1, "mcl": 0, "dist": 0},
    }.items():
        train_job(job(tmp_path / name, base, **apart, weights=weights))
        found[name] = training_log(tmp_path / name)["ce"].to_numpy()
    np.testing.assert_allclose(found["with"], found["without"], atol=1e-5)
