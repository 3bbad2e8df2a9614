from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.evaluation.headline import SCORES, example_pairs, interval, metrics_table, read_metrics


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        ({"value": 0.8123, "low": 0.78, "high": 0.8431}, "0.812 (0.780 to 0.843)"),
        ({"value": 0.5, "low": None, "high": None}, "0.500"),
        ({"value": None, "low": None, "high": None}, "–"),
        ({}, "–"),
    ],
)
def test_an_interval_in_words(measured: dict[str, float | None], text: str) -> None:
    assert interval(measured) == text


def test_a_row_for_each_score_that_was_measured(tmp_path: Path) -> None:
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    metrics = {"splits": {"test": {"fused": {"f1": value, "auroc": value}, "teacher": {"f1": value}}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    shown = "0.500 (0.400 to 0.600)"
    assert metrics_table(read_metrics(tmp_path)) == [
        {"score": "teacher", "F1": shown, "accuracy": "–", "AUROC": "–"},
        {"score": "fused", "F1": shown, "accuracy": "–", "AUROC": shown},
    ]
    assert metrics_table(metrics, "dev") == []


@pytest.mark.parametrize(("count", "places"), [(9, [0, 2, 4, 6, 8]), (3, [0, 1, 2]), (1, [0]), (0, [])])
def test_examples_go_evenly_from_the_best_match_to_the_worst(
    tmp_path: Path, count: int, places: list[int]
) -> None:
    rows = [
        {"pair_id": f"p{n}", "text_a": f"a{n}", "text_b": "b", "label": 1, "split": split}
        | dict.fromkeys(SCORES, 1 - n / 10)
        for split in ("test", "dev")
        for n in range(count if split == "test" else 7)
    ]
    pl.DataFrame(rows).sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "predictions.parquet")
    assert [pair["text_a"] for pair in example_pairs(tmp_path)] == [f"a{n}" for n in places]
