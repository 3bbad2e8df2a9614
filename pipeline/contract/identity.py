"""Identities of what a stage reads from outside the store: raw files and models, by content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import FlipkdError
from data.locate import digest
from models.loading.names import find_model


def file_identity(key: str, path: Path) -> str:
    """`sha256:...` of a file's content.

    Args:
        key: of the config, for messages.

    Raises:
        FlipkdError: it cannot be read.
    """
    with _naming_the_key(key, str(path)):
        return f"sha256:{digest(path)}"


def model_identity(key: str, name: str, download: bool) -> str:
    """Which model a name stands for: `sha256:...` of its content, or `hub:org/name@commit`.

    Args:
        key: of the config, for messages. download: fetch a hub model that is not on this machine.

    Raises:
        FlipkdError: it is not there, or cannot be read.
    """
    with _naming_the_key(key, name):
        return find_model(name, download=download).identity


@contextmanager
def _naming_the_key(key: str, name: str) -> Iterator[None]:
    try:
        yield
    except FlipkdError as error:
        raise FlipkdError(f"{key}: {error}") from None
    except OSError as error:
        where, reason = error.filename or name, error.strerror or error
        raise FlipkdError(f"{key}: {where} cannot be read: {reason}. Mend its rights or its disk") from None
