"""Progress where nobody watches: a line now and then, with what is left."""

from __future__ import annotations

import logging

import pytest

from pipeline.terminal import progress as module
from pipeline.terminal.progress import progress


def test_lines_say_how_far_it_is_and_how_long_it_takes(
    flipkd_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 16.0, 20.0, 40.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress("embedding", total=100, unit="texts") as advance:
        for amount in (10, 22, 8, 60):
            advance(amount, "loss 0.5")
    assert [record.getMessage() for record in flipkd_log.records] == [
        "embedding: 32 of 100 texts, about 34 s left  loss 0.5",  # 16 s for 32, so 34 s for 68
        "embedding: 100 of 100 texts, about 0 s left  loss 0.5",
    ]


def test_more_than_was_foreseen_leaves_nothing_to_wait_for(
    flipkd_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress("reading", total=5) as advance:
        advance(8)
    assert flipkd_log.records[0].levelno == logging.INFO
    assert flipkd_log.records[0].getMessage().startswith("reading: 8 of 5 steps, about 0 s left")
