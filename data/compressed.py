"""Files that are packed, by gzip or in a zip archive of one file, opened as if they were not."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from data.errors import FlipkdError

GZIP, ZIP = ".gz", ".zip"
# What reading on may raise, besides OSError, where the file is cut short or damaged.
DAMAGED = (EOFError, zlib.error, zipfile.BadZipFile)


def inner_suffix(path: Path) -> str:
    """The ending that tells the format: `.csv` of `pairs.csv`, of `pairs.csv.gz`, of a zip with `pairs.csv` in it.

    Raises:
        FlipkdError: a zip archive is damaged, or does not hold one file.
    """
    if path.suffix.lower() == GZIP:
        return path.with_suffix("").suffix.lower()
    if path.suffix.lower() == ZIP and path.is_file():
        return PurePosixPath(_only_file(path)).suffix.lower()
    return path.suffix.lower()


def is_packed(path: Path) -> bool:
    return path.suffix.lower() in {GZIP, ZIP}


def open_bytes(path: Path) -> IO[bytes]:
    """Open for reading, unpacked.

    Raises:
        FlipkdError: a zip archive is damaged, or does not hold one file.
    """
    if path.suffix.lower() == GZIP:
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.suffix.lower() == ZIP:
        return zipfile.ZipFile(path).open(_only_file(path))
    return path.open("rb")


def _only_file(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            # What the Finder of macOS adds is no file of the user's.
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
            found = [name for name in names if not name.startswith("__MACOSX/")]
    except zipfile.BadZipFile as error:
        raise FlipkdError(f"{path.name}: not a zip archive, or a damaged one: {error}") from None
    if len(found) != 1:
        raise FlipkdError(f"{path.name}: holds {len(found)} files; unpack it, and name the files one by one")
    return found[0]
