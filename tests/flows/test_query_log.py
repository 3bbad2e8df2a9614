"""A query log without any label through the real flow: it feeds the passes over texts, and becomes pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.flip import flip
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from tests.tiny import WORDS, tiny_config, tiny_pairs

pytestmark = pytest.mark.usefixtures("prefect_server")
BOUNDS = {"tau_accept": 0.9, "tau_reject": 0.1, "tau_pos": {"quantile": 0.05}, "tau_neg": {"quantile": 0.95}}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[dict[str, Path], list[str]]:
    """The artifacts of a run by stage, and the lines of the log."""
    folder = tmp_path_factory.mktemp("log")
    words = WORDS.split()
    lines = [" ".join(words[n : n + 4]) + f" please {n}" for n in range(40)]
    (folder / "log.txt").write_text("\n".join(lines), "utf-8")
    tiny_pairs(folder / "pairs.csv")
    inputs: list[dict[str, Any]] = [
        {"kind": "pairs", "path": str(folder / "pairs.csv"), "group": "question"},
        {"kind": "texts", "path": str(folder / "log.txt")},
    ]
    config = tiny_config(
        folder, prepare={"inputs": inputs}, score={"mine": {"nearest": 2, "middling": 1}}, filter=BOUNDS
    )
    flip(config)
    store = store_of(config)
    return {step.stage: store.path(step.stage, step.key) for step in plan(config)}, lines


def test_the_student_reads_them_alone(ran: tuple[dict[str, Path], list[str]]) -> None:
    folders, lines = ran
    embeddings = pl.read_parquet(folders["score"] / "embeddings.parquet").select("text_id", "text")
    ids = pl.read_parquet(folders["score"] / "texts.parquet")
    assert ids.join(embeddings, on="text_id")["text"].to_list() == lines


def test_the_teacher_makes_pairs_of_them_and_the_filter_decides(ran: tuple[dict[str, Path], list[str]]) -> None:
    folders, lines = ran
    rows = pl.read_parquet(folders["filter"] / "filtered.parquet").filter(source="mined")
    summary = json.loads((folders["score"] / "manifest.json").read_text("utf-8"))["summary"]
    assert rows.height == summary["mined"] > 40
    assert set(lines) <= set(rows["text_a"]) | set(rows["text_b"])
    assert rows["label"].null_count() == rows.height
    expected = [1 if score >= 0.9 else 0 if score <= 0.1 else None for score in rows["teacher_score"]]
    assert rows["target"].to_list() == expected
    assert rows["kept"].to_list() == [target is not None for target in expected]
    assert rows["kept"].any()


def test_none_of_them_is_measured(ran: tuple[dict[str, Path], list[str]]) -> None:
    folders, lines = ran
    measured = pl.read_parquet(folders["export"] / "predictions.parquet").filter(pl.col("split") != "train")
    assert not set(lines) & (set(measured["text_a"]) | set(measured["text_b"]))
    assert measured.filter(source="mined").is_empty()
