"""What is said of the time that is left."""

from __future__ import annotations

from flows.remaining_time import RemainingTime


def test_parts_that_were_there_already_cost_nothing() -> None:
    time = RemainingTime([True, False, False, False])
    assert time.in_words() == ""  # nothing is known yet
    time.done(0, 1000.0)
    assert time.in_words() == ""
    time.done(1, 3600.0)
    assert time.in_words() == ", about 2 h 0 min left"
    time.done(2, 1800.0)
    assert time.in_words() == ", about 45 min left"
    time.done(3, 1800.0)
    assert time.in_words() == ""


def test_several_at_a_time() -> None:
    time = RemainingTime([False] * 5, at_once=2)
    time.done(0, 600.0)
    assert time.in_words() == ", about 20 min left"
