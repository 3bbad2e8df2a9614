"""How `flipkd status` shows the stages of a config."""

from __future__ import annotations

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from pipeline.runner.status import StageStatus
from pipeline.terminal.words import readable_age


def status_table(stages: list[StageStatus]) -> Table:
    """The states as a table for the terminal."""
    table = Table()
    for name in ("stage", "state", "key", "age", "size"):
        table.add_column(name, no_wrap=True, justify="right" if name in {"age", "size"} else "left")
    table.add_column("summary", overflow="fold", ratio=1)
    for one in stages:
        age = "" if one.age_seconds is None else readable_age(one.age_seconds)
        size = "" if one.bytes is None else decimal(one.bytes)
        table.add_row(one.stage, Text(one.state, STYLES[one.state]), one.key, age, size, Text(one.summary))
    return table


STYLES = {"cached": "green", "damaged": "red", "not there": "yellow"}
