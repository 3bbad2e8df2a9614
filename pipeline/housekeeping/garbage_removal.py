"""The removing half of `flipkd gc`: one thing after the other, each only while nobody uses it.

Before each removal, under the store's gate, it is asked again what runs in progress, runs that began since, and
students in use need. A run passes the gate when it begins, so it either is seen here, or sees what is gone.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from data.errors import FlipkdError
from pipeline.housekeeping.garbage import Garbage
from pipeline.housekeeping.garbage_items import Item, cache_times
from pipeline.housekeeping.retention import CLOCK_SLACK, Needs, urgent_needs
from pipeline.runner.latest import sweep_links
from pipeline.runner.runs import sweep_locks
from pipeline.store.disk import disk_problem, sweep
from pipeline.store.lock import StoreLock
from pipeline.store.store import Store
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.gc")


def remove_garbage(store: Store, garbage: Garbage) -> tuple[list[Item], list[tuple[Item, str]]]:
    """Remove what nobody needs. Killed at any moment, it leaves a valid store.

    Returns:
        What was removed; and what stays after all, with the reason.

    Raises:
        FlipkdError: it cannot be known any more what is needed, or the store cannot be written.
    """
    removed: list[Item] = []
    stays: list[tuple[Item, str]] = []
    dependents = garbage.scan.dependents()
    there = set(garbage.scan.artifacts)
    with store.gate():
        sweep_locks(store)
    with progress("removing", len(garbage.items), "things") as advance:
        for item in garbage.items:
            blocked = item.kind == "artifact" and bool(dependents.get(item.owner, set()) & there)
            reason = "what came from it stays" if blocked else _remove(store, garbage, item)
            if reason:
                stays.append((item, reason))
            else:
                removed.append(item)
                if item.kind == "artifact":
                    there.discard(item.owner)
            advance()
    sweep_links(store)
    _redate(store, garbage)
    return removed, stays


def _remove(store: Store, garbage: Garbage, item: Item) -> str | None:
    """Remove one thing.

    Returns:
        Why it stays; None if it is gone.
    """
    with _lock(store, item).held() as held:
        if not held:
            return "in use"
        with store.gate():
            if reason := _needed(urgent_needs(store, garbage.scan, garbage.ended_runs), item):
                return reason
            hidden = _hide(item)
        if hidden is not None:
            sweep(hidden) if hidden.is_dir() else hidden.unlink(missing_ok=True)
    return None


def _needed(needs: Needs, item: Item) -> str | None:
    begun = "needed by a run in progress, or a student put into use meanwhile"
    if item.kind == "artifact" and item.owner in needs.artifacts:
        return begun
    if item.kind == "work" and item.owner in needs.planned:
        return begun
    if item.kind == "model" and needs.model(item.owner[1]):
        return begun
    if item.kind == "cache" and any(touched and touched > item.used for touched in cache_times(item.path)):
        return "used meanwhile"
    return None


def _hide(item: Item) -> Path | None:
    """Take a thing out of sight in one step.

    Returns:
        Where it lies now; None if it is gone already.
    """
    if item.kind == "left over":
        return item.path
    hidden = item.path.with_name(f".{item.path.name}.discarded")
    sweep(hidden)
    try:
        return item.path.rename(hidden)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FlipkdError(f"cannot remove {item.path}: {disk_problem(error, item.path) or error}") from None


def _lock(store: Store, item: Item) -> StoreLock:
    folder, name = item.owner
    if place := next((one for one in store.shared if one.name == folder), None):
        return StoreLock(place / f"{name}.lock")  # the one that who makes it holds
    return store.named_lock("gc-runs") if folder == "runs" else store.lock(folder, name)


def _beside(store: Store) -> Iterator[Path]:
    for place in store.shared:
        yield from place.glob("[!.]*")


def _redate(store: Store, garbage: Garbage) -> None:
    """Give files with a time in the future, which a wrong clock left, the time of now: they age from here on."""
    now = time.time()
    paths = [store.path(*artifact) for artifact in garbage.scan.artifacts]
    for path in [*paths, *store.runs.glob("[!.]*.json"), *_beside(store)]:
        with suppress(OSError):
            if path.stat().st_mtime > now + CLOCK_SLACK:
                os.utime(path, (now, now))
