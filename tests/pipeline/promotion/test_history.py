"""The history of promotions: a file that anything may have happened to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.promotion.history import history, history_file
from pipeline.promotion.link import (
    in_use,
)
from pipeline.store.store import Store
from tests.pipeline.promotion.test_link import add_export, promote


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_line_that_was_cut_short(store: Store) -> None:
    a, b = add_export(store, 1), add_export(store, 2)
    promote(store, a)
    with history_file(store, "default").open("ab") as file:
        file.write(b'{"time": "2026-01-01T00:00:00+00:00", "action": "pro')
    assert [record.key for record in history(store)] == [a]
    promote(store, b)
    lines = history_file(store, "default").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [a, b]


def test_a_line_that_is_wrong_is_told(store: Store) -> None:
    a = add_export(store, 1)
    promote(store, a)
    with history_file(store, "default").open("ab") as file:
        file.write(b'{"time": "", "action": "guess", "key": "a", "previous": null, "reason": ""}\n')
    with pytest.raises(FlipkdError, match=r"default\.jsonl, line 2: action: .*mend or remove that line"):
        history(store)
    assert in_use(store) == a
