"""Prefect's record of a stage goes with its artifact: damaged, it is no reason to skip the stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cache import drop_stale_record
from pipeline.runner.plan import Step
from pipeline.store.store import PREFECT_RECORD, Store
from tests.stores import put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def recorded(store: Store, content: str = "{}") -> tuple[Step, Path]:
    stage, key = put(store, "prepare", "a")
    record = store.path(stage, key) / PREFECT_RECORD
    record.write_text(content, "utf-8")
    return Step(stage, key, 0, {}, {}), record


def test_of_a_whole_artifact_it_stays(store: Store) -> None:
    step, record = recorded(store)
    drop_stale_record(step, store)
    assert record.exists()


def test_of_a_damaged_artifact_it_goes(store: Store) -> None:
    step, record = recorded(store)
    data = record.parent / "inner/data.bin"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    drop_stale_record(step, store)
    assert not record.exists()
    assert data.exists()


def test_one_that_was_cut_short_goes_and_none_is_none(store: Store) -> None:
    step, record = recorded(store, '{"result": ')
    drop_stale_record(step, store)
    assert not record.exists()
    drop_stale_record(step, store)
