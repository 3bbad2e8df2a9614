"""`flipkd verify` in a terminal: a row for each thing that was found."""

from __future__ import annotations

from pipeline.cli.verify_view import findings_table
from pipeline.housekeeping.verify import Finding, Verdict
from tests.terminal import cells


def test_each_thing_found_is_a_row_under_what_it_is() -> None:
    findings = [
        Finding("teach", "k1", damage=["weights: [cut] short"], notes=["its input is gone"]),
        Finding("score", "k2", foreign=["mine.txt"]),
    ]
    rows = cells(findings_table(Verdict(2, 5, 9, findings, [])))
    assert rows == [
        ["teach/k1", "damaged", "weights: [cut] short"],
        ["teach/k1", "note", "its input is gone"],
        ["score/k2", "not its own", "mine.txt"],
    ]
