"""Writing to a disk that may be full, read-only or shared: whole files, locks, and errors that say why."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from data.errors import FlipkdError

log = logging.getLogger("flipkd.run")
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# What says that it was the disk, not what was to be written.
DISK = FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.ENOTDIR, errno.ENAMETOOLONG}
# safetensors and torch raise errors of their own, which hold the system's words at best.
WORDS = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "Permission denied": errno.EACCES,
    # torch.save, which loses the system's reason
    "PytorchStreamWriter failed writing file": errno.ENOSPC,
    "inline_container.cc": errno.ENOSPC,
    "iostream error": errno.ENOSPC,
}
CHOOSE = "choose another store (`store` in the config, or $FLIPKD_HOME)"


def disk_problem(error: BaseException, folder: Path) -> str | None:
    """What a failed write says about the disk; None if the error is about something else.

    Args:
        folder: where was written; named where the error names no file.
    """
    code = error.errno if isinstance(error, OSError) else None
    code = next((known for words, known in WORDS.items() if words in str(error)), code)
    if code not in DISK or isinstance(error, FlipkdError):
        return None
    where = getattr(error, "filename", None) or folder
    if code in FULL:
        left = free_space(folder)
        return f"{where}: no space is left on the disk ({left}). Free some (`flipkd gc`), or {CHOOSE}"
    return f"{where}: {os.strerror(code)}. Mend that, or {CHOOSE}"


def free_space(folder: Path) -> str:
    """How much is free on a folder's disk, for messages."""
    try:
        return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB free"
    except OSError:
        return "full"


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, or say plainly why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise FlipkdError(
            f"cannot create the folder {folder}: {reason}. Choose another store (`store` in the config, or "
            "$FLIPKD_HOME)"
        ) from None


def make_output(folder: Path) -> None:
    """Make the folder that `-o` names, before the work whose result goes there.

    Raises:
        FlipkdError: it cannot be made, or not written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "is a file" if folder.is_file() else f"cannot be written: {error.strerror}"
        raise FlipkdError(f"-o {folder}: {reason}; name another folder") from None


def replace_file(path: Path, content: str) -> None:
    """Write a text file so that it is the old one or the new one at any moment, after a power cut too.

    Raises:
        FlipkdError: the disk is full or not writable; the old file stays as it was.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.writing")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise FlipkdError(f"cannot write {path}: {disk_problem(error, path.parent) or error}") from None


def sweep(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there.

    Raises:
        FlipkdError: something stays.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        if folder.exists():  # somebody else removes it too
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise FlipkdError(f"cannot remove {folder}: {disk_problem(error, folder) or error}") from None


def sync(path: Path) -> None:
    """fsync of a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush(folder: Path) -> None:
    """fsync of everything below a folder, files before the folders that name them."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder; one that goes away meanwhile is left out. Links to folders are not followed."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, or of a file; 0 if there is nothing."""
    total = 0
    for file in files_below(folder) if folder.is_dir() else [folder]:
        try:
            total += file.lstat().st_size
        except OSError:
            continue
    return total
