"""Ages and sizes in words."""

from __future__ import annotations

from pipeline.terminal.words import readable_age


def test_readable() -> None:
    assert [readable_age(s) for s in (5, 600, 7 * 3600, 3 * 86400)] == ["5 s", "10 min", "7 h", "3 days"]
