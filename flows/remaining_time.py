"""How long the rest of a long flow will take, from what its parts took so far."""

from __future__ import annotations

from collections.abc import Sequence


class RemainingTime:
    """Counts the parts of a flow; parts that are there already cost nothing and are not counted.

    Args:
        there: for each part whether its result is there.
        at_once: how many parts are worked on at a time.
    """

    def __init__(self, there: Sequence[bool], at_once: int = 1):
        self._there = list(there)
        self._at_once = at_once
        self._seconds: list[float] = []

    def done(self, number: int, seconds: float) -> None:
        """One part is done, after so many seconds of its own."""
        if not self._there[number]:
            self._seconds.append(seconds)
            self._there[number] = True

    def in_words(self) -> str:
        """`, about 3 h 20 min left`; empty while nothing is known or nothing is left."""
        missing = self._there.count(False)
        if not self._seconds or not missing:
            return ""
        rounds = missing / min(self._at_once, missing)
        minutes = round(rounds * sum(self._seconds) / len(self._seconds) / 60)
        hours = f"{minutes // 60} h " if minutes >= 60 else ""
        return f", about {hours}{minutes % 60} min left"
