"""Progress of long work: a bar with a time estimate on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("flipkd.run")
SECONDS_BETWEEN_LINES = 15.0


@contextmanager
def progress(title: str, total: float, unit: str = "steps") -> Iterator[Callable[..., None]]:
    """Show how far a piece of work is.

    Yields:
        `advance(amount=1, note="")`: call it as work gets done; `note` stands beside the bar (a loss, say).

    Example:
        >>> with progress("embedding", total=3, unit="texts") as advance:
        ...     for _ in range(3):
        ...         advance()
    """
    # Processes beside each other share a terminal: their bars would overwrite each other.
    if sys.stderr.isatty() and multiprocessing.parent_process() is None:
        yield from _bar(title, total, unit)
    else:
        yield from _lines(title, total, unit)


def _bar(title: str, total: float, unit: str) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<28}"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn(unit),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(amount: float = 1, note: str | None = None) -> None:
            fields: dict[str, Any] = {} if note is None else {"note": note}
            bar.update(task, advance=amount, **fields)

        yield advance


def _lines(title: str, total: float, unit: str) -> Iterator[Callable[..., None]]:
    started = shown = time.monotonic()
    done = 0.0

    def advance(amount: float = 1, note: str | None = None) -> None:
        nonlocal done, shown
        done += amount
        now = time.monotonic()
        if now - shown >= SECONDS_BETWEEN_LINES and done:
            shown = now
            left = (now - started) / done * max(total - done, 0)
            log.info("%s: %d of %d %s, about %d s left  %s", title, done, total, unit, left, note or "")

    yield advance
