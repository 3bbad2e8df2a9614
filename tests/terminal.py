"""What a terminal would show."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType


def terminal(width: int = 80) -> Console:
    """A terminal that keeps what is printed."""
    return Console(width=width, record=True, file=io.StringIO())


def shown(what: RenderableType, width: int = 80) -> str:
    """Something printed on a terminal of that width, as plain text."""
    console = terminal(width)
    console.print(what)
    return console.export_text()


def cells(table: RenderableType, width: int = 80) -> list[list[str]]:
    """The rows of a table below its head, line by line, as their cells' texts."""
    lines = [line for line in shown(table, width).splitlines() if "│" in line]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
