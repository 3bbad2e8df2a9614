"""Relative links inside a store, moved in one step: a reader sees the old target or the new one, never none."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from pipeline.store.disk import make_folder, sync


def point(link: Path, target: Path) -> None:
    """Let a link point to a path that is relative to its folder. Hold a lock that all who move it take."""
    make_folder(link.parent)
    new_link = link.with_name(f".{link.name}.new")
    new_link.unlink(missing_ok=True)  # a killed process's: we hold the lock
    new_link.symlink_to(target)
    new_link.replace(link)
    sync(link.parent)


def linked_name(link: Path) -> str | None:
    """The last part of a link's target, be it there or not; None if there is no link."""
    try:
        return PurePosixPath(os.readlink(link)).name  # noqa: PTH115  # its text, dots and all
    except OSError:
        return None
