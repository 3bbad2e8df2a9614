"""`flipkd gc --delete`: nothing that is in use goes, and killed at any moment it leaves a valid store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.housekeeping import garbage_removal
from pipeline.housekeeping.garbage import find_garbage
from pipeline.housekeeping.garbage_items import Item
from pipeline.housekeeping.garbage_removal import remove_garbage
from pipeline.housekeeping.verify import verify_store
from pipeline.runner.runs import recording
from pipeline.stages.registry import STAGES
from pipeline.store.store import Store
from tests.pipeline.housekeeping.test_garbage import find, gone, steps_of
from tests.pipeline.runner.test_runs import CONFIG
from tests.stores import DAY, NOW, key_of, promote, put, put_chain, put_run, set_time

REMOVER = """
import sys
from pathlib import Path
from pipeline.housekeeping.garbage import find_garbage
from pipeline.housekeeping.garbage_removal import remove_garbage
from pipeline.store.store import Store
store = Store(Path(sys.argv[1]))
garbage = find_garbage(store, [], keep_days=14, now=float(sys.argv[2]))
print("begin", flush=True)
remove_garbage(store, garbage)
"""


def test_what_is_garbage_goes_and_the_rest_is_as_it_was(tmp_path: Path):
    store = Store(tmp_path)
    old, used = put_chain(store, "old", age_days=100), put_chain(store, "used", age_days=100)
    promote(store, used["export"])
    store.work(*old["teach"]).mkdir(parents=True)
    (store.models / ("a" * 20)).mkdir(parents=True)
    set_time(store.models / ("a" * 20), 0)
    store.path("score", f"{key_of('x')}").with_name(f".{key_of('x')}.writing").mkdir()
    garbage = find(store)
    assert find(store) == garbage  # looking changes nothing
    removed, stays = remove_garbage(store, garbage)
    assert (removed, stays) == (garbage.items, [])
    assert set(store.artifacts()) == set(used.values())
    assert verify_store(store).ok
    assert find(store).items == []
    left = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"artifacts", "locks", "models"}
    assert list(store.models.iterdir()) == [store.models / f"{'a' * 20}.lock"]


def test_what_is_locked_stays_with_all_that_it_came_from(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "old", age_days=100)
    garbage = find(store)
    with store.lock(*chain["filter"]):
        removed, stays = remove_garbage(store, garbage)
    assert [item.owner[0] for item in removed] == ["export", "distill"]
    assert {item.owner[0]: why for item, why in stays} == {
        "filter": "in use", "score": "what came from it stays", "teach": "what came from it stays",
        "prepare": "what came from it stays",
    }  # fmt: skip
    assert verify_store(store).ok


def test_a_run_that_begins_meanwhile_keeps_what_it_planned(tmp_path: Path):
    store = Store(tmp_path)
    one, other = put_chain(store, "one", age_days=100), put_chain(store, "other", age_days=100)
    garbage = find(store)
    with recording(CONFIG, store, steps_of(one)):
        removed, stays = remove_garbage(store, garbage)
    assert {item.owner for item in removed} == set(other.values())
    assert {item.owner for item, _ in stays} == set(one.values())
    assert set(store.artifacts()) == set(one.values())


def test_a_run_that_began_and_ended_meanwhile_counts_too(tmp_path: Path):
    store = Store(tmp_path)
    one = put_chain(store, "one", age_days=100)
    garbage = find(store)
    with recording(CONFIG, store, steps_of(one)):
        pass
    assert remove_garbage(store, garbage)[0] == []


def test_a_student_put_into_use_meanwhile_stays(tmp_path: Path):
    store = Store(tmp_path)
    one = put_chain(store, "one", age_days=100)
    sibling = put(store, "filter", "sibling", {"score": "one"}, age_days=100)
    garbage = find(store)
    promote(store, one["export"])
    assert [item.owner for item in remove_garbage(store, garbage)[0]] == [sibling]


def test_a_run_cannot_begin_between_the_question_and_the_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The gate: asked for the needs, the remover holds it until the artifact is out of sight."""
    store = Store(tmp_path)
    put(store, "prepare", "a", age_days=100)
    seen: list[bool] = []
    really = garbage_removal._hide

    def watched(item: Item) -> Path | None:
        with store.gate().held() as held:
            seen.append(held)
        return really(item)

    monkeypatch.setattr(garbage_removal, "_hide", watched)
    remove_garbage(store, find(store))
    assert seen == [False]


def test_times_in_the_future_are_set_to_now(tmp_path: Path):
    store = Store(tmp_path)
    future = time.time() + 1000 * DAY
    one = put(store, "prepare", "a")
    record = put_run(store, "20270101T000000Z-aaaaaa", {"prepare": one}, age_days=1)
    for path in (store.path(*one), record):
        set_time(path, future)
    remove_garbage(store, find_garbage(store, [], keep_days=14))
    assert all(path.stat().st_mtime <= time.time() for path in (store.path(*one), record))


def test_a_cache_that_is_used_meanwhile_stays(tmp_path: Path):
    store = Store(tmp_path)
    for name in ("embeddings/a", "activations/b"):
        (tmp_path / name).mkdir(parents=True)
        set_time(tmp_path / name, time.time() - 100 * DAY)
    garbage = find_garbage(store, [], keep_days=14)
    (tmp_path / "activations" / "b").touch()
    removed, stays = remove_garbage(store, garbage)
    assert [item.owner for item in removed] == [("embeddings", "a")]
    assert [why for _, why in stays] == ["used meanwhile"]


def test_two_removers_at_once(tmp_path: Path):
    store = Store(tmp_path)
    put_chain(store, "old", age_days=100)
    first, second = find(store), find(store)
    assert len(remove_garbage(store, first)[0]) == len(STAGES)
    assert len(remove_garbage(store, second)[0]) == len(STAGES)  # gone is gone
    assert store.artifacts() == []


def test_killed_at_any_moment_it_leaves_every_artifact_whole_with_its_inputs(tmp_path: Path):
    store = Store(tmp_path)
    draw = random.Random(0)
    kept = put_chain(store, "kept", age_days=1)
    killed = 0
    for number in range(4):
        for name in "abcd":
            put_chain(store, f"{number}{name}", age_days=100)
        command = [sys.executable, "-c", REMOVER, str(tmp_path), str(NOW)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0, 0.25) if number else 0)  # the first is killed at once
        process.send_signal(signal.SIGKILL)
        process.wait()
        verdict = verify_store(store)
        assert verdict.ok
        assert verdict.findings == []  # nothing lacks an input
        assert set(kept.values()) <= set(store.artifacts())
        killed += bool(gone(find(store)))
    assert killed, "every removal was over before the kill"
    remove_garbage(store, find(store))
    assert set(store.artifacts()) == set(kept.values())
    assert [p for p in tmp_path.rglob("*") if p.name.endswith((".discarded", ".writing"))] == []
    assert os.listdir(tmp_path / "artifacts" / "score") == [kept["score"][1]]  # noqa: PTH208
