"""How long the rest of a long flow will take, from what its parts took so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Clock:
    """Times the parts of a flow; parts that are there already cost nothing and are not counted.

    Args:
        there: for each part whether its result is there.
    """

    def __init__(self, there: Sequence[bool]):
        self._there = list(there)
        self._seconds: list[float] = []

    @contextmanager
    def timing(self, number: int) -> Iterator[None]:
        """Time one part."""
        started = time.monotonic()
        yield
        if not self._there[number]:
            self._seconds.append(time.monotonic() - started)
            self._there[number] = True

    def left(self) -> str:
        """`about 3 h 20 min left`; empty while nothing is known or nothing is left."""
        missing = self._there.count(False)
        if not self._seconds or not missing:
            return ""
        minutes = round(missing * sum(self._seconds) / len(self._seconds) / 60)
        hours = f"{minutes // 60} h " if minutes >= 60 else ""
        return f", about {hours}{minutes % 60} min left"
