"""Texts longer than the teacher's window: counted, named, refused where the config says so."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sentence_transformers import SentenceTransformer

from data.errors import FlipkdError
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.run import run
from tests.teacher_half import context, untuned, word_pairs, write_pairs
from tests.tiny import tiny_teacher

LONG = "my card is lost " * 12
ALIKE = {"text_a": f"{LONG}child", "text_b": f"{LONG}loan", "label": 0, "split": "train"}
OTHER = {"text_a": "my card", "text_b": f"loan {LONG}", "label": 1, "split": "test"}


def _score(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    folder.mkdir(parents=True)
    model = tiny_teacher(folder / "model")
    teacher = SentenceTransformer(str(model))
    teacher.max_seq_length = 16
    teacher.save_pretrained(str(model))
    pairs = write_pairs(folder / "prepare", rows)
    inputs = {"prepare": pairs, "teach": untuned(model, pairs, folder)}
    (folder / "out").mkdir()
    return run(ScoreConfig.model_validate(settings), inputs, folder / "out", context(folder))


def test_what_is_cut_is_counted_by_split_and_side_and_pairs_that_are_one_to_the_teacher_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        summary = _score(tmp_path / "a", [*word_pairs(40), ALIKE, OTHER])
    (found,) = summary["truncated"]
    tokenizer = SentenceTransformer(str(tmp_path / "a" / "model")).tokenizer
    lost = {text: len(tokenizer(text, truncation=False)["input_ids"]) - 16 for text in (
        ALIKE["text_a"], ALIKE["text_b"], OTHER["text_b"],
    )}  # fmt: skip
    assert (found["window"], found["texts"], found["tokens_lost"]) == (16, 3, sum(lost.values()))
    assert found["splits"]["train"]["text_a"]["cut"] == found["splits"]["train"]["text_b"]["cut"] == 1
    assert found["splits"]["test"]["text_a"]["cut"] == 0
    assert found["splits"]["test"]["text_b"]["tokens_lost"] == lost[OTHER["text_b"]]
    assert all(side["cut"] == side["tokens_lost"] == 0 for side in found["splits"]["dev"].values())
    assert (found["alike"], found["alike_pairs"]) == (1, ["p40"])
    scores = pl.read_parquet(tmp_path / "a" / "out" / "scores.parquet")
    assert scores.row(40, named=True)["teacher_score"] == pytest.approx(1, abs=1e-6)
    assert scores.columns[-1] == "truncated"
    assert scores.filter("truncated")["pair_id"].to_list() == ["p40", "p41"]
    assert "3 of" in caplog.text
    assert "1 pairs differ behind the cut alone" in caplog.text
    assert "p40" in caplog.text
    json.dumps(summary)


def test_nothing_cut_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        summary = _score(tmp_path / "a", word_pairs(40), max_truncated=0)
    assert "truncated" not in summary
    assert "truncated" not in pl.read_parquet(tmp_path / "a" / "out" / "scores.parquet").columns
    assert "longer than" not in caplog.text


def test_more_than_the_config_allows_is_an_error_before_anything_is_embedded(tmp_path: Path) -> None:
    message = r"3 of \d+ texts are longer than the teacher's window of 16 tokens.*score\.max_truncated \(0\.01\)"
    with pytest.raises(FlipkdError, match=message):
        _score(tmp_path / "a", [*word_pairs(40), ALIKE, OTHER], max_truncated=0.01)
    assert not list((tmp_path / "a").rglob("embeddings.parquet"))
    _score(tmp_path / "b", [*word_pairs(40), ALIKE, OTHER], max_truncated=0.1)
