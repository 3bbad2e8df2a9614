"""`flipkd status` in a terminal."""

from __future__ import annotations

from rich.console import Console

from pipeline.cli.status_view import status_table, status_view
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


def test_in_a_narrow_terminal_a_summary_has_lines_of_its_own() -> None:
    states = [
        StageStatus("prepare", "k" * 20, "cached", 7200.0, 1_500_000, "pairs: [train] 260, dev 60, test 80; " * 3),
        StageStatus("distill", "l" * 20, "not there", None, None, "not run yet"),
    ]
    for width in (80, 120):
        terminal = Console(width=width, record=True, quiet=False, file=None, force_terminal=False)
        with terminal.capture() as said:
            terminal.print(status_view(states, width))
        lines = said.get().splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) < 12
        if width == 80:
            assert lines[0].split() == ["prepare", "cached", "k" * 20, "2", "h", "1.5", "MB"]
            assert lines[1].startswith("  pairs: [train] 260, dev 60, test 80; pairs")
            assert lines[-1] == "  not run yet"
