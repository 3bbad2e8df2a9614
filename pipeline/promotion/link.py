"""Which student is in use: the link `current/<name>` of the store, how it is moved, and how it goes back.

`<store>/current/<name>` is a symbolic link to `../artifacts/export/<key>`. It is relative, so that the store can
be moved or copied; a service loads `<store>/current/<name>/student`. The link is the truth about what is in use,
the history (`pipeline.promotion.history`) tells how it came there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from data.errors import FlipkdError
from pipeline.promotion.history import Action, Record, append, earlier, history
from pipeline.store.disk import disk_problem
from pipeline.store.links import point
from pipeline.store.store import KEY_LENGTH, Store

KEPT = 3  # students before the one in use that `flipkd gc` leaves, so that a rollback finds them
_KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")
_TARGET = ("..", "artifacts", "export")
_MEND = (
    "flipkd did not make it (a copy of a store must keep its links: `cp -a`, `rsync -a`). Remove it; "
    "then `flipkd promoted` shows what was in use, and `flipkd promote --key KEY --force` puts it back"
)


class LinkMoved(Exception):
    """Another process moved the link after the decision was made."""


# ------------------------------------------------------------------------------------------------- reading


def link_of(store: Store, name: str = "default") -> Path:
    """`<store>/current/<name>`, whether or not it is there."""
    return store.current / name


def in_use(store: Store, name: str = "default") -> str | None:
    """The key of the export that is in use; None before the first promotion.

    Raises:
        FlipkdError: the link is not one of flipkd's, or points to an artifact that is not there.
    """
    key = linked_key(store, name)
    if key is not None and not store.path("export", key).is_dir():
        raise FlipkdError(
            f"{link_of(store, name)} points to the export {key}, which is not in the store. `flipkd rollback` "
            "returns to the student before it, `flipkd run` with its config makes it again, "
            "`flipkd promote --force` puts another one in its place"
        )
    return key


def linked_key(store: Store, name: str = "default") -> str | None:
    """The key that the link names, be its artifact there or not; None if there is no link.

    Raises:
        FlipkdError: what stands there is not a link of flipkd's.
    """
    link = link_of(store, name)
    try:
        target = os.readlink(link)  # noqa: PTH115  # its text, dots and all
    except FileNotFoundError:
        return None
    except OSError as error:
        what = "is a file or folder, not a link" if os.path.lexists(link) else f"cannot be read ({error.strerror})"
        raise FlipkdError(f"{link} {what}: {_MEND}") from None
    *folders, key = PurePosixPath(target).parts or ("",)
    if tuple(folders) != _TARGET or not _KEY.fullmatch(key):
        raise FlipkdError(f"{link} points to {target!r} instead of ../artifacts/export/KEY: {_MEND}")
    return key


def promoted_keys(store: Store) -> dict[str, list[str]]:
    """For each name the exports to keep: the one in use, then the `KEPT` nearest that rollbacks return to.

    Under `store.gate()` the answer holds until the gate is let go.

    Raises:
        FlipkdError: a link or a history cannot be read, so that it is not known what to keep.
    """
    names = {path.name for path in _listed(store.current) if not path.name.startswith(".")}
    names |= {path.stem for path in _listed(store.promotions) if path.suffix == ".jsonl"}
    found = {}
    for name in sorted(names):
        current = linked_key(store, name)
        there = [key for key in earlier(history(store, name), current) if store.path("export", key).is_dir()]
        found[name] = [*([] if current is None else [current]), *there[:KEPT]]
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FlipkdError(f"{folder} cannot be read: {error.strerror}") from None


def damage(store: Store, key: str) -> str | None:
    """Why an export cannot be used, by size and digest of every file; None if it is intact."""
    problems = store.problems("export", key)
    if problems is None:
        return f"there is no export {key} in {store.root}"
    return f"the export {key} is damaged ({'; '.join(problems)}); run its config again" if problems else None


# ------------------------------------------------------------------------------------------------- writing


def move(
    store: Store,
    name: str,
    key: str,
    reason: str,
    *,
    expected: str | None,
    action: Action = "promote",
    forced: bool = False,
    comparison: dict[str, Any] | None = None,
) -> None:
    """Put an export into use: the record first, then the link, at one instant for everybody who reads it.

    Args:
        expected: the key in use that the decision was made against.

    Raises:
        LinkMoved: another one is in use by now.
        FlipkdError: the export is not there or damaged, or the store cannot be written.
    """
    with _locked(store, name):
        if linked_key(store, name) != expected:
            raise LinkMoved
        if problem := damage(store, key):
            raise FlipkdError(problem)
        with store.gate():  # from here on `flipkd gc` knows of it, or has removed it
            if not store.path("export", key).is_dir():
                raise FlipkdError(f"the export {key} was removed just now; run its config again")
            append(store, name, _record(action, key, expected, reason, forced, comparison))
            point(link_of(store, name), Path(*_TARGET, key))


def refuse(
    store: Store, name: str, key: str, previous: str | None, reason: str, comparison: dict[str, Any] | None = None
) -> None:
    """Write into the history that an export was not promoted, and why.

    Raises:
        FlipkdError: the store cannot be written.
    """
    with _locked(store, name):
        append(store, name, _record("refused", key, previous, reason, False, comparison))


def roll_back(store: Store, name: str = "default", key: str | None = None, reason: str | None = None) -> Record:
    """Return to the student that was in use before, or to one before that by its key.

    The student that is left is not returned to: a second rollback goes one further back.

    Returns:
        The record of what was done.

    Raises:
        FlipkdError: there is none before it, or its artifact is gone or damaged.
    """
    current = linked_key(store, name)
    before = earlier(history(store, name), current)
    if not before:
        raise FlipkdError(f"{link_of(store, name)}: no student was in use before, so there is none to return to")
    if key is not None and key not in before:
        raise FlipkdError(f"{key} is none of those that were in use before: {', '.join(before)}")
    target = key or before[0]
    if problem := damage(store, target):
        usable = next((other for other in before if other != target and damage(store, other) is None), None)
        advice = f"`flipkd rollback --key {usable}` returns to another one" if usable else "no other one is usable"
        raise FlipkdError(f"{problem}; {advice}")
    said = reason or (f"rolled back from {current}" if current else "put back, as there was no link")
    try:
        move(store, name, target, said, expected=current, action="rollback")
    except LinkMoved:
        raise FlipkdError(
            f"{link_of(store, name)} was moved by another process just now; see `flipkd promoted`, then try again"
        ) from None
    return history(store, name)[-1]


@contextmanager
def _locked(store: Store, name: str) -> Iterator[None]:
    """One process at a time; what the file system refuses becomes one message."""
    try:
        with store.lock("promotion", name):
            yield
    except OSError as error:
        problem = disk_problem(error, store.root) or error
        raise FlipkdError(f"cannot change which student is in use: {problem}") from None


def _record(
    action: Action, key: str, previous: str | None, reason: str, forced: bool, comparison: dict[str, Any] | None
) -> Record:
    return Record(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        action=action,
        key=key,
        previous=previous,
        reason=reason,
        forced=forced,
        comparison=comparison,
    )
