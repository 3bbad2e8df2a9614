"""What `flipkd gc` would remove from a store, and why. Nothing is changed here; `garbage_removal` does it.

Artifacts stay that a config given, a student in use, a run in progress or a run of the last days needs, each with
all that it came from. Above a size limit what only recent runs need goes too, the longest unused first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.filesize import decimal

from pipeline.housekeeping.garbage_items import (
    YOUNGEST,
    Item,
    caches,
    idle,
    is_useless,
    left_over,
    models,
    modified,
    work,
)
from pipeline.housekeeping.retention import (
    DAY,
    Artifact,
    Needs,
    Scan,
    close,
    need_promoted,
    need_run,
    need_steps,
    scan,
    timestamp,
    trusted,
    used_at,
)
from pipeline.runner.plan import ALL_STAGES, Step
from pipeline.runner.runs import Run, runs
from pipeline.store.disk import size_of
from pipeline.store.store import Store


def _place(stage: str) -> int:
    """A stage's place in the order in which artifacts come from each other."""
    return list(ALL_STAGES).index(stage)


@dataclass(frozen=True)
class Garbage:
    """What would go, in the order of removal, and what stays.

    Attributes:
        needs: what stays, with the reason.
        ended_runs: ids of the runs that had ended.
        store_bytes: of everything in the store.
        over_limit: bytes by which the store stays above the size limit even so.
    """

    items: list[Item]
    needs: Needs
    scan: Scan
    ended_runs: frozenset[str]
    store_bytes: int
    over_limit: int = 0

    @property
    def bytes(self) -> int:
        """What removal would free."""
        return sum(item.bytes for item in self.items)


def find_garbage(
    store: Store,
    steps: Sequence[Step],
    *,
    keep_days: float,
    max_bytes: int | None = None,
    now: float | None = None,
    baselines: Sequence[str] = (),
) -> Garbage:
    """What of a store nobody needs.

    Args:
        steps: the plans of the configs that are in use.
        keep_days: runs so young keep what they need; artifacts so young stay too.
        max_bytes: above it, what only recent runs need goes too, the longest unused first.
        now: seconds since 1970.
        baselines: keys of exports that these configs measure drift against.

    Raises:
        FlipkdError: it cannot be known what is needed.
    """
    now = time.time() if now is None else now
    known, found = runs(store), scan(store)
    needs = _needs(store, steps, baselines, known, found, now - keep_days * DAY, now)
    used = _last_uses(store, known, found, now)
    sizes = {artifact: size_of(store.path(*artifact)) for artifact in found.artifacts}
    gone = {artifact: "" for artifact in found.artifacts if artifact not in needs.artifacts}
    busy = {artifact for run in known if run.state == "running" for artifact in run.planned}
    others = [
        *work(store, needs, set(found.artifacts) - busy, now),
        *models(store, needs, keep_days, now),
        *left_over(store, now),
    ]
    found_caches = [cache for cache in caches(store, now) if now - cache.used > YOUNGEST]
    useless = [cache for cache in found_caches if is_useless(store, cache, needs, now - keep_days * DAY)]
    others += useless
    total = size_of(store.root)
    left = total - sum(sizes[artifact] for artifact in gone) - sum(item.bytes for item in others)
    if max_bytes is not None:
        for cache in sorted((one for one in found_caches if one not in useless), key=lambda one: one.used):
            if left > max_bytes:
                others.append(cache)
                left -= cache.bytes
        for artifact in _weakest(needs, found, used, gone):
            if left <= max_bytes:
                break
            gone[artifact] = f"the store is larger than {decimal(max_bytes)}; "
            left -= sizes[artifact]
            del needs.artifacts[artifact]
    items = [
        Item("artifact", one, store.path(*one), sizes[one], used[one], why + idle(used[one], now))
        for one, why in gone.items()
    ]
    # Artifacts first, each before what it came from: cut short at any moment, every one left has its inputs.
    items.sort(key=lambda item: (-_place(item.owner[0]), item.used, item.owner))
    ended_runs = frozenset(run.id for run in known if run.state != "running")
    over = 0 if max_bytes is None else max(0, left - max_bytes)
    return Garbage([*items, *others], needs, found, ended_runs, total, over)


def _needs(
    store: Store,
    steps: Sequence[Step],
    baselines: Sequence[str],
    known: Sequence[Run],
    found: Scan,
    since: float,
    now: float,
) -> Needs:
    needs = Needs({("export", key): "config" for key in baselines})
    need_steps(needs, steps)
    close(needs, found)
    need_promoted(needs, store, found)
    close(needs, found)
    for run in known:
        if run.state == "running":
            need_run(needs, run, "running")
    close(needs, found)
    for run in known:
        if used_at(run, now) >= since:
            need_run(needs, run, "recent")
    for artifact in found.artifacts:
        if _made(store, artifact, found, now) >= since:
            needs.artifacts.setdefault(artifact, "recent")
    close(needs, found)
    return needs


def _made(store: Store, artifact: Artifact, found: Scan, now: float) -> float:
    manifest = found.manifests.get(artifact)
    began = timestamp(manifest.started) if manifest else None
    ended = None if manifest is None or began is None else began + manifest.duration_seconds
    return trusted([ended, modified(store.path(*artifact))], now)


def _last_uses(store: Store, known: Sequence[Run], found: Scan, now: float) -> dict[Artifact, float]:
    """When each artifact was last used: made, planned by a run, or behind one that was used."""
    used = {artifact: _made(store, artifact, found, now) for artifact in found.artifacts}
    for run in known:
        at = used_at(run, now)
        for artifact in run.planned:
            if artifact in used:
                used[artifact] = max(used[artifact], at)
    for artifact in sorted(used, key=lambda one: -_place(one[0])):  # what comes from others first
        for source in found.inputs(artifact):
            if source in used:
                used[source] = max(used[source], used[artifact])
    return used


def _weakest(
    needs: Needs, found: Scan, used: dict[Artifact, float], gone: dict[Artifact, str]
) -> Iterator[Artifact]:
    """What only recent runs need, the longest unused first; nothing while something that came from it stays."""
    dependents = found.dependents()
    weak = [one for one in found.artifacts if needs.artifacts.get(one) == "recent"]
    for one in sorted(weak, key=lambda one: (used[one], -_place(one[0]), one)):
        if dependents.get(one, set()) <= gone.keys():
            yield one
