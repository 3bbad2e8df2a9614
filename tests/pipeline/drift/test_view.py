"""Drift as people read it: a row for each measure, and what could not be measured."""

from __future__ import annotations

from pipeline.drift.check import DriftReport
from pipeline.drift.measures import Measure
from pipeline.drift.view import COLUMNS, drift_markdown, drift_table
from tests.terminal import shown

MEASURES = (
    Measure("teacher_scores", "teacher scores", 0.51234567, 0.5, 0.42, 0.05, 0.1, 0.4, "stop"),
    Measure("label_rate", "label rate", None, 0.5, None, None, 0.05, 0.2, "not measured", "too few [rows]"),
)


def report(*, teachers_differ: bool = False) -> DriftReport:
    return DriftReport("e1", {"score": "s1"}, {"score": "s0"}, teachers_differ, MEASURES)


def test_markdown_has_a_row_for_each_measure() -> None:
    rows = [line for line in drift_markdown(report()).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(MEASURES)
    assert {line.count("|") for line in rows} == {len(COLUMNS) + 1}
    assert rows[2].split(" | ")[1:] == ["0.5123", "0.5", "0.42", "0.05", "0.1", "0.4", "stop |"]
    assert rows[3].split(" | ")[1:] == ["–", "0.5", "–", "–", "0.05", "0.2", "not measured: too few [rows] |"]


def test_the_terminal_shows_the_same_in_80_columns() -> None:
    told = " ".join(shown(drift_table(report())).split())
    for word in ("0.5123", "stop", "measured:", "[rows]", "score s1 against score s0", "export e1"):
        assert word in told, word


def test_different_teachers_are_told() -> None:
    assert "the teachers differ" not in drift_markdown(report())
    told = drift_markdown(report(teachers_differ=True))
    assert "the teachers differ, so scores may differ by that alone" in told
