"""How `flipkd status` shows the stages of a config."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.runner.status import StageStatus
from pipeline.terminal.words import readable_age

WIDE = 110


def status_view(stages: list[StageStatus], width: int) -> RenderableType:
    """The states as a table; in a narrow terminal each summary has lines of its own.

    Args:
        width: of the terminal, characters.
    """
    return status_table(stages) if width >= WIDE else Group(*map(_block, stages))


def status_table(stages: list[StageStatus]) -> Table:
    """The states as a table for the terminal."""
    table = Table()
    for name in ("stage", "state", "key", "age", "size"):
        table.add_column(name, no_wrap=True, justify="right" if name in {"age", "size"} else "left")
    table.add_column("summary", overflow="fold", ratio=1)
    for one in stages:
        table.add_row(one.stage, Text(one.state, STYLES[one.state]), one.key, *_times(one), Text(one.summary))
    return table


def _block(one: StageStatus) -> RenderableType:
    age, size = _times(one)
    head = Text.assemble(
        (f"{one.stage:<8}", "bold"), (f" {one.state:<9}", STYLES[one.state]), f"  {one.key}  {age:>8}  {size:>8}"
    )
    return Group(head, Padding(Text(one.summary), (0, 0, 0, 2), expand=False)) if one.summary else head


def _times(one: StageStatus) -> tuple[str, str]:
    """Age and size, empty where it is not there."""
    age = "" if one.age_seconds is None else readable_age(one.age_seconds)
    return age, "" if one.bytes is None else decimal(one.bytes)


STYLES = {"cached": "green", "damaged": "red", "not there": "yellow"}
