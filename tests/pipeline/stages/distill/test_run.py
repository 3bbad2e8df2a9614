"""The training of the student: it learns, it resumes after kill -9 as if nothing had been, it runs in parallel."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.numpy import load_file

from data.errors import FlipkdError
from data.schema import TRAINING_LOG
from models.student.flipkd_student import QUERIES
from models.student.student import load_base
from pipeline.config.config import DistillConfig
from pipeline.stages.distill import loop as training
from pipeline.stages.distill.job import Job, build, train_job
from pipeline.stages.distill.processes import JOB, train_on_processes
from pipeline.stages.distill.schedule import linear_schedule
from tests.tiny import tiny_student

THINGS = ["the card", "my child", "a fever", "the dose", "same text", "lost", "no frozen", "yes yes"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


def job(folder: Path, base: Path, **changes: Any) -> Job:
    """A training job on 64 texts of 8 things: two texts match iff they name one thing; the teacher knows it."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    thing = np.arange(64) % 8
    texts = [f"{THINGS[t]} {'abcdefgh'[n // 8]}" for n, t in enumerate(thing)]
    vectors = np.eye(8)[thing] + random.normal(scale=0.15, size=(64, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    schema = {"text_id": pl.Int64, "text": pl.String, "embedding": pl.Array(pl.Float32, 8)}
    table = pl.DataFrame({"text_id": range(64), "text": texts, "embedding": list(vectors)}, schema=schema)
    table.write_parquet(folder / "embeddings.parquet")
    first = random.integers(64, size=200)
    label = random.integers(2, size=200)
    second = [
        random.choice([m for m in range(64) if (thing[m] == thing[n]) == y and m != n])
        for n, y in zip(first, label, strict=True)
    ]
    columns = {"label": label, "target": label, "text_a_id": first, "text_b_id": second}
    columns["teacher_score"] = (vectors[first] * vectors[second]).sum(1)
    frame = pl.DataFrame(columns).with_columns(
        split=pl.Series(["train"] * 140 + ["dev"] * 60), kept=pl.lit(value=True)
    )
    frame.write_parquet(folder / "filtered.parquet")
    settings = {"model": str(base), "epochs": 3, "batch_pairs": 8, "learning_rate": 3e-3, "precision": "fp32"}
    settings |= {
        "text_epochs": 2,
        "batch_texts": 16,
        "lora": {"rank": 8, "alpha": 16, "dropout": 0.1, "last_layers": 1},
    }
    for name in ("work", "out"):
        (folder / name).mkdir(exist_ok=True)
    return Job(
        config=DistillConfig(**(settings | changes)),
        base=base,
        identity="sha256:tiny",
        activations=folder / "activations",
        text_passes=folder / "text_passes",
        filtered=folder / "filtered.parquet",
        embeddings=folder / "embeddings.parquet",
        bounds=(0.3, 0.7),
        work=folder / "work",
        out=folder / "out",
        seed=5,
    )


def adapter(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "out" / "adapter" / "adapter_model.safetensors")


def training_log(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "out" / "training_log.parquet").drop("tokens_per_second")


@pytest.fixture(scope="module")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train_job(job(folder, base))


def test_flip_teaches_the_encoder_and_writes_its_log(undisturbed: tuple[Path, dict[str, Any]]):
    folder, summary = undisturbed
    assert summary["dev_encoder_auroc"] > 0.9
    log = pl.read_parquet(folder / "out" / "training_log.parquet")
    assert log.columns == TRAINING_LOG.names
    assert log["step"].to_list() == list(range(1, summary["steps"] + 1))
    assert log["dev_encoder_auroc"].drop_nulls().len() == 3
    on_texts, on_pairs = log.filter(pl.col("ce").is_null()), log.filter(pl.col("ce").is_not_null())
    assert (on_texts.height, on_texts["step"].max()) == (8, 8)
    assert np.mean(on_pairs["dist"].to_numpy()[-10:]) < np.mean(on_pairs["dist"].to_numpy()[:10])
    terms = on_pairs.select(total=pl.col("ce") + 0.1 * pl.col("mcl") + pl.col("dist"))["total"]
    np.testing.assert_allclose(terms, on_pairs["loss"], rtol=1e-5)
    np.testing.assert_allclose(on_texts["dist"], on_texts["loss"], rtol=1e-5)
    assert log["learning_rate"].max() == pytest.approx(3e-3, rel=0.1)


def test_the_same_job_gives_the_same_student(undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path):
    train_job(job(tmp_path, base))
    assert training_log(tmp_path).equals(training_log(undisturbed[0]))
    for name, tensor in adapter(undisturbed[0]).items():
        np.testing.assert_array_equal(adapter(tmp_path)[name], tensor)


def test_killed_and_resumed_equals_undisturbed(
    undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path
):
    """kill -9 in the middle; dropout is on, so the random state has to come back too."""
    work = job(tmp_path, base, checkpoint_minutes=1e-6)
    (tmp_path / "job.json").write_bytes(JOB.dump_json(work))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.stages.distill.worker", str(tmp_path / "job.json")]
    )
    checkpoint = tmp_path / "work" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert checkpoint.exists()
    assert not (tmp_path / "out" / "adapter").exists()
    train_job(work)
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


ONE_GPU = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="each process takes a GPU")


@ONE_GPU
def test_two_processes_share_the_steps(undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path):
    summary = train_on_processes(job(tmp_path, base, processes=2))
    steps = undisturbed[1]["steps"]
    assert summary["steps"] == 4 + 27
    assert steps == 8 + 54
    assert summary["dev_encoder_auroc"] > 0.9
    assert adapter(tmp_path).keys() == adapter(undisturbed[0]).keys()


def test_more_processes_than_gpus_are_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(FlipkdError, match=r"distill.processes is 2, and here is 1 GPU: .* set it to 1 or less"):
        train_on_processes(job(tmp_path, base, processes=2))


def test_the_precision_of_an_earlier_training_does_not_matter(
    undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path
):
    """On a GPU the teacher's trainer leaves bf16 to the whole process."""
    AcceleratorState._reset_state()
    Accelerator(mixed_precision="bf16")
    train_job(job(tmp_path, base))
    assert training_log(tmp_path).equals(training_log(undisturbed[0]))


@ONE_GPU
def test_what_a_process_says_reaches_the_user(base: Path, tmp_path: Path):
    broken = job(tmp_path, base, processes=2)
    pl.read_parquet(broken.filtered).with_columns(kept=pl.lit(value=False)).write_parquet(broken.filtered)
    with pytest.raises(FlipkdError, match="the filter kept 0 training pairs"):
        train_on_processes(broken)


def test_a_training_that_explodes_is_stopped(base: Path, tmp_path: Path):
    with pytest.raises(FlipkdError, match=r"lower distill.learning_rate"):
        train_job(job(tmp_path, base, learning_rate=1.0, lora={"rank": 4, "alpha": 1e30}))


def test_linear_schedule_rises_then_falls_to_zero():
    shares = [linear_schedule(step, 3, 10) for step in range(11)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[10] == 0
    assert all(a > b for a, b in itertools.pairwise(shares[3:]))


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


@pytest.mark.parametrize("keep", [True, False])
def test_texts_of_dropped_pairs_teach_the_encoder_too(base: Path, tmp_path: Path, keep: bool):
    given: dict[str, Any] = {"lora": {"rank": 8, "alpha": 16, "last_layers": 1}, "keep_activations": keep}
    found = {}
    for texts in ("kept", "train"):
        one = job(tmp_path / texts, base, **given, epochs=1, texts=texts)
        frame = pl.read_parquet(one.filtered)
        few = frame.with_columns(kept=(pl.col("text_a_id") % 4 == 0) & (pl.col("text_b_id") % 4 == 0))
        few.write_parquet(one.filtered)
        summary = train_job(one)
        found[texts] = summary
        kept = few.filter("kept", split="train")
        read = few.filter(split="train") if texts == "train" else kept
        distinct = len({*read["text_a_id"], *read["text_b_id"]})
        log = pl.read_parquet(tmp_path / texts / "out" / "training_log.parquet")
        assert log["ce"].null_count() == 2 * -(-distinct // 16)
        assert summary["pairs"] == kept.height
    assert found["train"]["dev_encoder_auroc"] > found["kept"]["dev_encoder_auroc"]


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
    update = training._update
    updates: list[float] = []

    def until(optimizer: Any, rate: float) -> None:
        updates.append(rate)
        if len(updates) == 14:  # eight steps on texts, some on pairs
            raise KeyboardInterrupt
        update(optimizer, rate)

    monkeypatch.setattr(training, "_update", until)
    with pytest.raises(KeyboardInterrupt):
        train_job(stopped)
    monkeypatch.setattr(training, "_update", update)
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
    assert training.clip_groups(student, parameters, "together") == [parameters]
    encoder, others = training.clip_groups(student, parameters, "apart")
    assert {id(p) for p in encoder} == {id(p) for p in student.encoders()}
    assert len(encoder) + len(others) == len(parameters)
    hidden = build(
        *load_base(base), DistillConfig.model_validate({"model": str(base), "sites": {"read": "hidden"}})
    )
    parameters = [p for p in hidden.parameters() if p.requires_grad]
    assert training.clip_groups(hidden, parameters, "apart") == [parameters]


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


def test_more_processes_than_batches_can_serve_are_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    too_many = job(tmp_path, base, processes=8, batch_pairs=64)
    with pytest.raises(FlipkdError, match=r"distill\.processes is 8, and an epoch has 3 batches of pairs"):
        train_job(too_many)
    assert not (tmp_path / "activations").exists()
