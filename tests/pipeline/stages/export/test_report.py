"""The report's parts that need no model."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pipeline.stages.export.report import disagreements, duration, number


def predictions(labels: list[int | None], fused: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {"pair_id": [f"p{n}" for n in range(len(labels))], "label": labels, "fused": fused},
        schema_overrides={"label": pl.Int8, "fused": pl.Float32},
    )


def test_disagreements_are_farthest_from_the_label_first() -> None:
    rows = predictions([1, 0, 1, 0], [0.9, 0.8, 0.1, 0.3])
    found = disagreements(rows, np.zeros(4), 3)
    assert found["pair_id"].to_list() == ["p2", "p1", "p3"]
    assert found["difference"].to_list() == pytest.approx([0.9, 0.8, 0.3])


def test_without_a_label_the_teacher_says_what_was_expected() -> None:
    rows = predictions([None, 1, None], [0.9, 0.5, 0.5])
    found = disagreements(rows, np.array([0.1, 0.0, 0.6]), 10)
    assert found["pair_id"].to_list() == ["p0", "p1", "p2"]
    assert found["expected"].to_list() == pytest.approx([0.1, 1.0, 0.6])


def test_ties_go_by_pair_id() -> None:
    found = disagreements(predictions([1, 0, 1], [0.5, 0.5, 0.5]), np.zeros(3), 2)
    assert found["pair_id"].to_list() == ["p0", "p1"]


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.12345, "0.123"), (1234567, "1\u202f234\u202f567"), ("<b>", "<b>")]
)
def test_numbers(value: object, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.26, "0.3 s"), (59.96, "60.0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
