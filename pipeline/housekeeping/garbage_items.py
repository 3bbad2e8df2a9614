"""What lies in a store beside its artifacts, and may be garbage: checkpoints, models, caches, left-overs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.housekeeping.retention import DAY, Artifact, Needs, is_artifact, trusted
from pipeline.runner.runs import is_held
from pipeline.stages.score.embedding_cache import cache_identities
from pipeline.store.disk import files_below, size_of
from pipeline.store.store import Store
from pipeline.terminal.words import readable_age

Kind = Literal["artifact", "work", "model", "cache", "left over"]
YOUNGEST = 3600.0  # a model or cache as young as this may be about to be used


@dataclass(frozen=True)
class Item:
    """Something that would go.

    Attributes:
        owner: stage and key whose lock guards it; for a model or cache its kind and its name.
        used: last use, seconds since 1970.
    """

    kind: Kind
    owner: Artifact
    path: Path
    bytes: int
    used: float
    why: str


def modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def idle(used: float, now: float) -> str:
    return f"last used {readable_age(max(now - used, 0.0))} ago"


def work(store: Store, needs: Needs, complete: set[Artifact], now: float) -> Iterator[Item]:
    """Checkpoints of stages that are complete (and not being computed again), or that nobody is going to run."""
    for folder in sorted(store.root.glob("work/*/*")):
        owner = (folder.parent.name, folder.name)
        if not is_artifact(*owner) or _is_locked(store, owner):
            continue
        if owner in complete:
            why = "checkpoints of a stage that is complete"
        elif owner not in needs.planned:
            why = "checkpoints of a stage that no config or recent run needs"
        else:
            continue
        yield Item("work", owner, folder, size_of(folder), trusted([modified(folder)], now), why)


def models(store: Store, needs: Needs, keep_days: float, now: float) -> Iterator[Item]:
    """Converted models that no needed artifact comes from."""
    for folder in sorted(store.models.glob("[!.]*")):
        used = trusted([modified(folder)], now)
        if not folder.is_dir() or needs.model(folder.name) or now - used < max(keep_days * DAY, YOUNGEST):
            continue
        yield Item("model", ("models", folder.name), folder, size_of(folder), used, "no artifact kept needs it")


def caches(store: Store, now: float) -> Iterator[Item]:
    """What only saves time, each with its last use."""
    for folder in sorted(folder for cache in store.caches for folder in cache.glob("[!.]*") if folder.is_dir()):
        used = trusted(cache_times(folder), now)
        why = f"saves time only; {idle(used, now)}"
        yield Item("cache", (folder.parent.name, folder.name), folder, size_of(folder), used, why)


def cache_times(folder: Path) -> list[float | None]:
    """When a cache, or anything in it, was touched, seconds since 1970."""
    return [modified(path) for path in (folder, *files_below(folder))]


def is_useless(store: Store, cache: Item, needs: Needs, since: float) -> bool:
    """Of embeddings: no teacher that stays has used them. Of others: they were not used lately."""
    folder, name = cache.owner
    if folder != store.embeddings.name:
        return cache.used < since
    teachers = cache_identities(store.embeddings).get(name, set())
    return not any(("teach", key) in needs.artifacts for key in teachers)


def left_over(store: Store, now: float) -> Iterator[Item]:
    """What killed processes left half written or half removed."""
    for folder in sorted([*store.root.glob("artifacts/*/.*"), *store.root.glob("work/*/.*")]):
        key, _, state = folder.name.removeprefix(".").partition(".")
        owner = (folder.parent.name, key)
        if state in {"writing", "discarded"} and is_artifact(*owner) and not _is_locked(store, owner):
            yield _left(owner, folder, now)
    for folder in sorted(folder for place in store.shared for folder in place.glob(".*")):
        name, _, state = folder.name.removeprefix(".").partition(".")
        if state in {"writing", "discarded"} and not is_held(folder.with_name(f"{name}.lock")):
            yield _left((folder.parent.name, name), folder, now)
    for file in sorted(store.runs.glob(".*.json.writing")):
        run = file.name.removeprefix(".").removesuffix(".json.writing")
        if not is_held(store.locks / f"run-{run}.lock"):
            yield _left(("runs", run), file, now)


def _left(owner: Artifact, path: Path, now: float) -> Item:
    why = "left by a process that was killed"
    return Item("left over", owner, path, size_of(path), trusted([modified(path)], now), why)


def _is_locked(store: Store, owner: Artifact) -> bool:
    return is_held(store.locks / f"{owner[0]}-{owner[1]}.lock")
