"""What of a store is needed, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.housekeeping.retention import (
    Needs,
    close,
    is_artifact,
    need_run,
    scan,
    timestamp,
    trusted,
    urgent_needs,
)
from pipeline.runner.runs import Run
from pipeline.store.manifest import MANIFEST
from pipeline.store.store import Store
from tests.stores import MODEL, NOW, key_of, promote, put, put_chain, put_run


def test_needed_artifacts_are_closed_under_lineage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chain, other = put_chain(store, "a"), put_chain(store, "b")
    needs = Needs({chain["score"]: "config"})
    close(needs, scan(store))
    assert set(needs.artifacts) == {chain[stage] for stage in ("prepare", "teach", "score")}
    assert set(needs.artifacts.values()) == {"config"}
    assert not set(needs.artifacts) & set(other.values())
    close(needs := Needs({chain["export"]: "promoted"}), scan(store))
    assert MODEL in needs.identities
    assert needs.model(next(iter(needs.models)) + "-20")  # its first layers are as long as the whole model is


def test_what_is_in_use_is_needed_at_once_and_what_a_finished_run_needed_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    used, idle = put_chain(store, "a"), put_chain(store, "b")
    promote(store, used["export"])
    put_run(store, "run", idle, age_days=1)
    needs = urgent_needs(store, scan(store), {"run"})
    assert set(needs.artifacts) == set(used.values())
    assert set(needs.artifacts.values()) == {"promoted"}


def test_dependents_are_what_was_made_from_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    found = scan(store).dependents()
    assert found[chain["teach"]] == {chain[stage] for stage in ("score", "export")}
    assert chain["export"] not in found


def test_a_manifest_that_cannot_be_read_is_no_manifest_and_a_promoted_one_stops_everything(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = put(store, "prepare", "a")
    (store.path(*artifact) / MANIFEST).write_text("{", "utf-8")
    found = scan(store)
    assert (found.artifacts, found.manifests) == ([artifact], {})
    chain = put_chain(store, "b")
    promote(store, chain["export"])
    (store.path(*chain["export"]) / MANIFEST).write_text("{", "utf-8")
    with pytest.raises(FlipkdError, match=r"is promoted \(default\), but its manifest cannot be read"):
        urgent_needs(store, scan(store), ())


def test_a_run_in_progress_whose_record_cannot_be_read_stops_everything() -> None:
    running = Run("r", Path("r.json"), "running", None, NOW, "r.json is damaged")
    with pytest.raises(FlipkdError, match=r"r\.json is damaged; this run is in progress"):
        need_run(Needs(), running, "running")
    need_run(needs := Needs(), Run("r", Path("r.json"), "damaged", None, NOW), "recent")
    assert not needs.artifacts


@pytest.mark.parametrize(
    ("stage", "key", "expected"),
    [
        ("score", key_of("a"), True),
        ("scores", key_of("a"), False),
        ("score", "notes", False),
        ("score", "..", False),
    ],
)
def test_only_what_has_an_artifacts_name_is_one(stage: str, key: str, expected: bool) -> None:
    assert is_artifact(stage, key) is expected


def test_times_of_a_clock_that_was_ahead_say_nothing() -> None:
    assert trusted([NOW - 50, NOW - 10, NOW + 1e6, None], NOW) == NOW - 10
    assert trusted([NOW + 1e6], NOW) == NOW
    assert timestamp("2027-01-15T08:00:00+00:00") == NOW
    assert timestamp("yesterday") is timestamp(None) is None
