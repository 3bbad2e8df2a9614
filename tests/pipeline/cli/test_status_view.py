"""`flipkd status` in a terminal."""

from __future__ import annotations

from pipeline.cli.status_view import status_table
from pipeline.runner.status import StageStatus
from tests.terminal import cells


def test_what_is_there_has_its_age_and_size_and_what_is_not_has_neither() -> None:
    states = [
        StageStatus("prepare", "k" * 20, "cached", 7200.0, 1_500_000, "pairs: [train] 5"),
        StageStatus("teach", "l" * 20, "not there", None, None, ""),
    ]
    rows = cells(status_table(states))
    assert rows[0][:5] == ["prepare", "cached", "k" * 20, "2 h", "1.5 MB"]
    assert rows[-1] == ["teach", "not there", "l" * 20, "", "", ""]
    assert "".join(row[5] for row in rows).replace(" ", "") == "pairs:[train]5"  # brackets are no markup
