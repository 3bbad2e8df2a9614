"""How `flipkd verify` shows what it found."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from pipeline.housekeeping.verify import Verdict


def findings_table(verdict: Verdict) -> Table:
    """The findings as a table for the terminal."""
    table = Table()
    table.add_column("artifact", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("what", overflow="fold", ratio=1)
    for finding in verdict.findings:
        lists = {"damaged": finding.damage, "not its own": finding.foreign, "note": finding.notes}
        for state, lines in lists.items():
            for line in lines:
                table.add_row(f"{finding.stage}/{finding.key}", Text(state, STYLES[state]), Text(line))
    return table


STYLES = {"damaged": "red", "not its own": "yellow", "note": "dim"}
