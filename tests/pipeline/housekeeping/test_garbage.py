"""What `flipkd gc` takes for garbage: never what a config, a student in use or a recent run needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.cli.garbage_view import garbage_table, kept_line
from pipeline.housekeeping.garbage import Garbage, find_garbage
from pipeline.runner.plan import Step
from pipeline.runner.runs import recording
from pipeline.stages.registry import ALL_STAGES, STAGES
from pipeline.store.manifest import MANIFEST
from pipeline.store.store import Store
from tests.pipeline.runner.test_runs import CONFIG
from tests.stores import DAY, MODEL, NOW, key_of, promote, put, put_chain, put_run, set_time

N = len(STAGES)


def find(store: Store, steps: list[Step] | None = None, **settings: float) -> Garbage:
    given = {"keep_days": 14.0, "now": NOW} | settings
    return find_garbage(store, steps or [], **given)  # type: ignore[arg-type]


def gone(garbage: Garbage) -> list[tuple[str, str]]:
    return [item.owner for item in garbage.items if item.kind == "artifact"]


def steps_of(chain: dict[str, tuple[str, str]]) -> list[Step]:
    return [Step(stage, key, 0, {}, {}) for stage, key in chain.values()]


def test_old_and_unused_goes_with_what_came_from_others_first(tmp_path: Path):
    store = Store(tmp_path)
    old, new = put_chain(store, "old", age_days=30), put_chain(store, "new", age_days=3)
    garbage = find(store)
    assert gone(garbage) == list(reversed(old.values()))
    assert set(garbage.needs.artifacts) == set(new.values())
    assert all("last used 30 days ago" in item.why for item in garbage.items)
    assert garbage.bytes == sum(
        file.stat().st_size for one in old.values() for file in store.path(*one).rglob("*.*")
    )
    assert kept_line(garbage) == f"{N} artifacts stay: {N} used lately"
    assert garbage_table(garbage).row_count == N


def test_a_config_keeps_what_it_needs_however_old(tmp_path: Path):
    store = Store(tmp_path)
    wanted, other = put_chain(store, "wanted", age_days=300), put_chain(store, "other", age_days=300)
    garbage = find(store, steps_of(wanted))
    assert set(gone(garbage)) == set(other.values())
    assert kept_line(garbage) == f"{N} artifacts stay: {N} of the configs"


def test_a_baseline_of_drift_keeps_its_lineage_however_old(tmp_path: Path):
    store = Store(tmp_path)
    baseline, other = put_chain(store, "a", age_days=400), put_chain(store, "b", age_days=400)
    garbage = find_garbage(store, [], keep_days=1, now=NOW, baselines=[baseline["export"][1]])
    assert {item.owner for item in garbage.items} == set(other.values())


def test_a_promoted_student_keeps_its_lineage_and_nothing_else(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "used", age_days=300)
    sibling = put(store, "filter", "sibling", {"score": "used"}, age_days=300)
    promote(store, chain["export"])
    garbage = find(store)
    assert gone(garbage) == [sibling]
    assert {garbage.needs.artifacts[one] for one in chain.values()} == {"promoted"}


def test_a_promoted_student_of_unknown_lineage_stops_everything(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "used", age_days=300)
    promote(store, chain["export"])
    (store.path(*chain["export"]) / MANIFEST).write_text("{", "utf-8")
    with pytest.raises(FlipkdError, match=r"promoted \(default\).*manifest cannot be read"):
        find(store)


def test_a_recent_run_keeps_what_it_planned_and_an_old_one_does_not(tmp_path: Path):
    store = Store(tmp_path)
    lately, once = put_chain(store, "lately", age_days=100), put_chain(store, "once", age_days=100)
    put_run(store, "20270101T000000Z-aaaaaa", lately, age_days=2, ended=False)
    put_run(store, "20260101T000000Z-bbbbbb", once, age_days=50)
    garbage = find(store)
    assert set(gone(garbage)) == set(once.values())
    assert all("last used 50 days ago" in item.why for item in garbage.items)
    assert set(gone(find(store, keep_days=1))) == {*once.values(), *lately.values()}


def test_a_run_in_progress_keeps_what_it_planned(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "now", age_days=100)
    work = store.work(*chain["distill"])
    work.mkdir(parents=True)
    with recording(CONFIG, store, steps_of(chain)):
        garbage = find(store, now=NOW + 1000 * DAY)
        assert garbage.items == []
        assert set(garbage.needs.artifacts.values()) == {"running"}
    assert [item.kind for item in find(store, now=NOW + 1000 * DAY).items] == ["artifact"] * N + ["work"]


def test_above_the_size_the_longest_unused_goes_but_nothing_that_is_in_use(tmp_path: Path):
    store = Store(tmp_path)
    chains = {age: put_chain(store, f"age {age}", age_days=age, size=10_000) for age in (9, 5, 3, 1)}
    promote(store, chains[9]["export"])
    total = find(store).store_bytes
    put_run(store, "20270101T000000Z-aaaaaa", chains[5], age_days=0.5)  # used after it was made
    garbage = find(store, max_bytes=total - 70_000)
    assert set(chains[3].values()) <= set(gone(garbage))
    # The next in age, and of it first what came from the others.
    assert set(gone(garbage)) - set(chains[3].values()) == {chains[1]["export"]}
    assert all("the store is larger than" in item.why for item in garbage.items)
    assert garbage.over_limit == 0
    tight = find(store, max_bytes=0)
    assert set(gone(tight)) == {one for age in (5, 3, 1) for one in chains[age].values()}
    assert tight.over_limit > 60_000


def test_an_artifact_of_a_recent_run_that_something_in_use_came_from_stays(tmp_path: Path):
    store = Store(tmp_path)
    shared = put_chain(store, "a", age_days=2)
    other = put(store, "filter", "b", {"score": "a"}, age_days=1)
    garbage = find(store, [Step(*other, 0, {}, {})], max_bytes=0)
    assert set(gone(garbage)) == {shared[stage] for stage in ("filter", "distill", "export")}


@pytest.mark.parametrize("days", [-400.0, -1.0])
def test_a_clock_that_was_ahead_removes_nothing(tmp_path: Path, days: float):
    """Made, and run, in what is now the future."""
    store = Store(tmp_path)
    chain = put_chain(store, "a", age_days=days)
    put_run(store, "20270101T000000Z-aaaaaa", chain, age_days=days)
    assert find(store).items == []
    # Dated anew by a removal (see test_garbage_removal), it ages like everything else.
    for path in [*(store.path(*one) for one in chain.values()), *store.root.glob("runs/*")]:
        set_time(path, NOW)
    assert find(store, now=NOW + 10 * DAY).items == []
    if days < -100:
        assert len(find(store, now=NOW + 20 * DAY).items) == N


def test_a_clock_that_was_behind_is_corrected_by_the_files_times(tmp_path: Path):
    """Begun in 1970, before the clock was set; ended in our days."""
    store = Store(tmp_path)
    chain = put_chain(store, "a", age_days=NOW / DAY)
    path = put_run(store, "19700101T000000Z-aaaaaa", chain, age_days=NOW / DAY)
    assert len(find(store).items) == N
    set_time(path, NOW - DAY)
    assert find(store).items == []


def test_checkpoints_go_unless_somebody_will_use_them(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "done")
    planned, nobody = ("distill", key_of("planned")), ("distill", key_of("nobody"))
    for owner in (chain["teach"], planned, nobody):
        store.work(*owner).mkdir(parents=True)
        (store.work(*owner) / "checkpoint").write_bytes(b"x" * 50)
    (tmp_path / "work" / "notes" / "mine").mkdir(parents=True)
    put_run(store, "20270101T000000Z-aaaaaa", {"distill": planned}, age_days=1, ended=False)
    items = find(store).items
    assert {item.owner for item in items} == {chain["teach"], nobody}
    assert {(item.kind, item.bytes) for item in items} == {("work", 50)}
    with store.lock(*nobody):  # somebody computes it, though no run says so
        assert {item.owner for item in find(store).items} == {chain["teach"]}


def test_left_overs_of_killed_processes_go_unless_locked(tmp_path: Path):
    store = Store(tmp_path)
    stage, key = put(store, "score", "a")
    other = store.path(stage, key_of("b"))
    folders = [other.with_name(f".{key}.discarded"), other.with_name(f".{other.name}.writing")]
    folders += [store.work(stage, f".{key}.discarded"), store.models / f".{'e' * 20}.writing"]
    for folder in folders:
        folder.mkdir(parents=True)
    assert {item.path for item in find(store).items} == set(folders)
    with store.lock(stage, other.name):
        assert {item.path for item in find(store).items} == set(folders) - {folders[1]}


def test_converted_models_stay_while_an_artifact_kept_comes_from_them(tmp_path: Path):
    store = Store(tmp_path)
    needed = MODEL.removeprefix("sha256:")[:20]
    for name in (needed, f"{needed}-first6", "a" * 20, "b" * 20):
        (store.models / name).mkdir(parents=True)
        set_time(store.models / name, NOW - 100 * DAY)
    set_time(store.models / ("b" * 20), NOW - 600)  # perhaps made for a run that is about to begin
    put(store, "distill", "a")
    assert [item.owner for item in find(store).items] == [("models", "a" * 20)]
    assert [item.owner for item in find(store, keep_days=0).items if item.kind == "model"] == [
        ("models", "a" * 20)
    ]


def test_caches_go_with_their_teacher_or_by_their_last_use_and_first_above_the_size(tmp_path: Path):
    store = Store(tmp_path)
    one = put(store, "teach", "a", age_days=9)
    (tmp_path / "embeddings" / "kept" / "used-by").mkdir(parents=True)
    (tmp_path / "embeddings" / "kept" / "used-by" / one[1]).touch()
    set_time(tmp_path / "embeddings" / "kept" / "used-by" / one[1], NOW - 2 * DAY)
    (tmp_path / "embeddings" / "nobody" / "used-by").mkdir(parents=True)
    (tmp_path / "embeddings" / "nobody" / "used-by" / key_of("gone")).touch()
    set_time(tmp_path / "embeddings" / "nobody" / "used-by" / key_of("gone"), NOW - 2 * DAY)
    names = {"embeddings/nobody": 2, "embeddings/kept": 2, "activations/older": 90, "activations/now": 0}
    names |= {"activations/old": 40}
    for name, age in names.items():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "data.npy").write_bytes(b"x" * 1000)
        for path in (tmp_path / name / "data.npy", tmp_path / name):
            set_time(path, NOW - age * DAY)
    set_time(tmp_path / "activations" / "older", NOW - 3 * DAY)  # touched when it was used
    useless = ["activations/old", "embeddings/nobody"]
    assert ["/".join(item.owner) for item in find(store).items] == useless
    garbage = find(store, max_bytes=find(store).store_bytes - 2500)
    assert ["/".join(item.owner) for item in garbage.items] == [*useless, "activations/older"]
    assert ["/".join(item.owner) for item in find(store, max_bytes=0).items] == [
        "/".join(one), *useless, "activations/older", "embeddings/kept",
    ]  # fmt: skip


def test_what_is_not_an_artifact_is_left_alone(tmp_path: Path):
    store = Store(tmp_path)
    for name in ("artifacts/notes/mine", "artifacts/score/my copy", "artifacts/score/.hidden", "elsewhere/x"):
        (tmp_path / name).mkdir(parents=True)
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "artifacts" / "score" / "readme.txt").write_text("mine", "utf-8")
    assert find(store, keep_days=0).items == []


def test_what_a_comparison_measured_is_an_artifact_like_others(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "a", age_days=300)
    measured = put(store, "measure", "a", age_days=3)
    assert gone(find(store)) == [chain["export"]]  # the rest is behind what was measured
    assert gone(find(store, keep_days=1))[0] == measured


def test_a_damaged_artifact_that_nobody_needs_goes_by_its_files_time(tmp_path: Path):
    store = Store(tmp_path)
    one = put(store, "score", "a", age_days=30)
    (store.path(*one) / MANIFEST).unlink()
    set_time(store.path(*one), NOW - DAY)
    assert find(store).items == []
    set_time(store.path(*one), NOW - 30 * DAY)
    assert gone(find(store)) == [one]


def test_a_stage_reads_only_stages_before_it():
    """The order of removal rests on it."""
    names = list(ALL_STAGES)
    assert all(
        names.index(read) < names.index(stage.name) for stage in ALL_STAGES.values() for read in stage.reads
    )
