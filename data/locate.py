"""Where a named file or folder lies, and the digest of what is in it."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
from pathlib import Path

from data.errors import FlipkdError

PACKAGE = "package:"
_SHOWN_CHARACTERS = 200


def package_path(name: str) -> Path:
    """The file or folder that `package:import_name/path` names, without importing the package.

    Raises:
        FlipkdError: no such package, or nothing there.
    """
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    try:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    roots = list(spec.submodule_search_locations or []) if spec else []
    if not roots:
        raise FlipkdError(
            f"{name}: no package `{package}` is installed here; try: pip install {package.replace('_', '-')}"
        )
    path = Path(roots[0]) / inside
    if not path.exists():
        raise FlipkdError(f"{name}: the package `{package}` holds no `{inside}`")
    return path


def named_path(name: str) -> Path:
    """What a name stands for: a path as a user writes it, or `package:import_name/path`.

    Raises:
        FlipkdError: it cannot be a path, or the package or what it should hold is not there.
    """
    return package_path(name) if name.startswith(PACKAGE) else user_path(name)


def user_path(name: str) -> Path:
    """A path as a user writes it, `~` filled in.

    Raises:
        FlipkdError: it cannot be a path: a home of nobody, a NUL character, a name beyond the system's limit.
    """
    try:
        Path(name).expanduser().stat()
    except (RuntimeError, ValueError) as error:
        raise FlipkdError(f"{shortened(name)!r} cannot be a path: {error}") from None
    except OSError as error:
        if error.errno in {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}:
            raise FlipkdError(f"{shortened(name)}: {error.strerror}") from None
    return Path(name).expanduser()


def shortened(name: str) -> str:
    """A name of any length, for messages."""
    return name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and contents; hidden files in a folder are left out."""
    if not path.is_dir():  # what is not there is an error, and not as good as an empty folder
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        inner = file.relative_to(path)
        if not any(part.startswith((".", "__pycache__")) for part in inner.parts):
            total.update(f"{inner.as_posix()}\0{digest(file)}\0".encode())
    return total.hexdigest()
