"""flipkd from Python, as README shows it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

import flipkd
from pipeline.promotion.link import move
from pipeline.store.store import Store
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def config(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("python") / "copy", symlinks=True)
    path = folder / "faq.yaml"
    path.write_text(yaml.safe_dump(tiny_config(folder).model_dump(mode="json", exclude_unset=True)), "utf-8")
    return path


def test_run_and_look(config: Path) -> None:
    run = flipkd.run(config, until="filter")
    assert list(run.folders) == ["prepare", "teach", "score", "filter"]
    assert run.scores()["reason"].null_count() == 0
    assert run.pairs().height == run.scores().height == 80
    assert run.rejects().height == 0
    assert np.linalg.norm(run.embeddings()["embedding"].to_numpy(), axis=1) == pytest.approx(1, abs=1e-5)
    with pytest.raises(flipkd.FlipkdError, match="this run has no export; it has prepare, teach"):
        run.metrics()


def test_the_student_gives_its_predictions(config: Path) -> None:
    run = flipkd.run(config)
    assert 0 <= run.metrics()["splits"]["test"]["fused"]["f1"]["value"] <= 1
    told = run.predictions()
    student = run.student(device="cpu")
    pairs = list(told.select("text_a", "text_b").iter_rows())
    assert student[0].match(pairs)["fused"] == pytest.approx(told["fused"].to_numpy(), abs=1e-4)  # pyright: ignore
    vectors = student.encode([pairs[0][0], pairs[0][1]])
    assert float(vectors[0] @ vectors[1]) == pytest.approx(told["encoder"][0], abs=1e-4)


def test_changes_are_a_trial_and_the_store_opens(config: Path) -> None:
    run = flipkd.run(config, {"filter.tau_pos": -1, "filter.tau_neg": 1}, until="filter")
    assert run.scores()["kept"].all()
    opened = flipkd.open(config.parent / "store")
    assert "faq" in opened.names()
    assert opened.latest("faq").scores().equals(run.scores())
    with pytest.raises(flipkd.FlipkdError, match="nothing was run under the name bank"):
        opened.latest("bank")
    with pytest.raises(flipkd.FlipkdError, match="no student is in use under the name faq"):
        opened.promoted("faq")
    whole = flipkd.run(config)
    move(Store(config.parent / "store"), "faq", whole.folders["export"].name, "a test", expected=None)
    assert opened.promoted("faq").metrics() == whole.metrics()
    assert opened.promoted("faq").scores().equals(whole.scores())
    with pytest.raises(flipkd.FlipkdError, match="no artifact store"):
        flipkd.open(config.parent / "none")


def test_in_a_running_event_loop(config: Path) -> None:
    async def cell() -> pl.DataFrame:
        return flipkd.run(config, until="score").scores()

    assert asyncio.run(cell()).height == 80
