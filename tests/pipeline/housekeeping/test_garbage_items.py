"""What lies beside the artifacts: what of it may go."""

from __future__ import annotations

from pathlib import Path

from pipeline.housekeeping.garbage_items import caches, left_over, models, work
from pipeline.housekeeping.retention import DAY, Needs
from pipeline.store.store import Store
from tests.stores import NOW, key_of, set_time


def folder(path: Path, days: float) -> Path:
    path.mkdir(parents=True)
    (path / "data.bin").write_bytes(b"x" * 10)
    for one in (path / "data.bin", path):
        set_time(one, NOW - days * DAY)
    return path


def test_checkpoints_go_where_their_stage_is_complete_or_nobody_plans_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    done, planned, forgotten = (("distill", key_of(name)) for name in ("done", "planned", "forgotten"))
    for owner in (done, planned, forgotten):
        folder(store.root / "work" / owner[0] / owner[1], 1)
    folder(store.root / "work/distill/notes", 99)  # somebody's own
    found = {item.owner: item for item in work(store, Needs(planned={planned}), {done}, NOW)}
    assert set(found) == {done, forgotten}
    assert found[done].bytes == 10
    assert "complete" in found[done].why
    with store.lock(*forgotten):
        assert {item.owner for item in work(store, Needs(), {done}, NOW)} == {done, planned}


def test_converted_models_go_when_they_are_old_and_nothing_needs_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = folder(store.models / "aaa", 30), folder(store.models / "bbb", 1)
    found = list(models(store, Needs(), 14, NOW))
    assert [item.path for item in found] == [old]
    assert found[0].used == NOW - 30 * DAY
    assert {item.path for item in models(store, Needs(), 0, NOW)} == {old, new}
    set_time(new, NOW - 60)  # it may be about to be used
    assert {item.path for item in models(store, Needs(), 0, NOW)} == {old}


def test_a_cache_is_as_old_as_its_youngest_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cache = folder(store.caches[0] / "abc", 30)
    set_time(cache / "data.bin", NOW - 2 * DAY)
    (item,) = caches(store, NOW)
    assert (item.kind, item.used) == ("cache", NOW - 2 * DAY)
    assert "saves time only; last used 2 days ago" in item.why


def test_left_overs_go_unless_their_lock_is_held(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = key_of("a")
    half = folder(store.root / "artifacts/score" / f".{key}.writing", 1)
    folder(store.root / "artifacts/score/.hidden", 1)
    assert [item.path for item in left_over(store, NOW)] == [half]
    with store.lock("score", key):
        assert list(left_over(store, NOW)) == []
