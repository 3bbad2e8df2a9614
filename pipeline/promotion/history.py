"""The history of which student was in use: a JSON Lines file, `<store>/promotions/<name>.jsonl`.

A record is on disk before the link moves, and says what the link was before. So the reason of a move is never
lost, and a move that a crash cut short is known: the link, in the next record or now, is still what it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from data.errors import FlipkdError
from pipeline.store.disk import make_folder, sync
from pipeline.store.store import Store

Action = Literal["promote", "rollback", "refused"]


class Record(BaseModel):
    """A line of the history. Lines are in the order in which things happened; clocks may go backwards.

    Attributes:
        time: UTC, ISO 8601.
        key: the export that was to be used; of a refused one, the one that was not.
        previous: the export that was in use before.
        reason: one English sentence.
        forced: nothing was compared, somebody decided.
        comparison: the numbers behind it, as `pipeline.promotion.paired.Comparison` has them.
    """

    model_config = ConfigDict(frozen=True)
    time: str
    action: Action
    key: str
    previous: str | None
    reason: str
    forced: bool = False
    comparison: dict[str, Any] | None = None


def history_file(store: Store, name: str) -> Path:
    """Where the history lies, whether or not it is there."""
    return store.promotions / f"{name}.jsonl"


def history(store: Store, name: str = "default") -> list[Record]:
    """All records, oldest first. A last line that a crash cut short is left out.

    Raises:
        FlipkdError: the file, or a line of it, cannot be read.
    """
    path = history_file(store, name)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FlipkdError(f"{path} cannot be read: {error.strerror}") from None
    found = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            found.append(Record.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            where = "".join(f"{part}: " for part in problem["loc"])
            raise FlipkdError(
                f"{path}, line {number}: {where}{problem['msg']}; mend or remove that line (which student is in "
                "use does not depend on it)"
            ) from None
    return found


def append(store: Store, name: str, record: Record) -> None:
    """Add a line and flush it to disk; what a crash left of a line is cut off first. Hold the lock."""
    path = history_file(store, name)
    make_folder(path.parent)
    line = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, allow_nan=False) + "\n"
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def moves(records: Sequence[Record], current: str | None) -> list[Record]:
    """The records whose move took place, oldest first: all but the refused ones and those that a crash cut short.

    Args:
        current: the key that the link names now.
    """
    tried = [record for record in records if record.action != "refused"]
    afterwards = [record.previous for record in tried[1:]] + [current]
    return [record for record, after in zip(tried, afterwards, strict=False) if after != record.previous]


def earlier(records: Sequence[Record], current: str | None) -> list[str]:
    """The keys that rollbacks return to, one after the other: the nearest first, each once.

    Like a stack: a rollback takes away the students that it leaves.

    Args:
        current: the key that the link names now.

    Example:
        >>> def record(action: Action, key: str, previous: str | None) -> Record:
        ...     return Record(time="", action=action, key=key, previous=previous, reason="")
        >>> records = [record("promote", "a", None), record("promote", "b", "a"), record("promote", "c", "b")]
        >>> earlier(records, "c")
        ['b', 'a']
        >>> earlier([*records, record("rollback", "b", "c")], "b")
        ['a']
    """
    stack: list[str] = []
    for record in moves(records, current):
        _put(stack, record.previous)  # it is on top already, unless somebody moved the link by hand
        if record.action == "rollback" and record.key in stack:
            while stack[-1] != record.key:
                stack.pop()
        else:
            _put(stack, record.key)
    return [key for key in dict.fromkeys(reversed(stack)) if key != current]


def _put(stack: list[str], key: str | None) -> None:
    if key is not None and stack[-1:] != [key]:
        stack.append(key)


def rolled_back(records: Sequence[Record], current: str | None, key: str) -> Record | None:
    """The rollback that took a student out of use, unless it was put into use again afterwards."""
    for record in reversed(moves(records, current)):
        if record.key == key:
            return None
        if record.action == "rollback" and record.previous == key:
            return record
    return None
