"""Parts of long work, written as they are done: a run that was cut off finds those of the same texts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def texts_digest(texts: Sequence[str]) -> str:
    """Which texts, in which order: 16 hexadecimal digits."""
    total = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()[:16]


def write_shard(path: Path, numbers: np.ndarray) -> None:
    """Write under another name, flush, rename: a shard is complete or absent."""
    temporary = path.with_suffix(".writing")
    with temporary.open("wb") as file:
        np.save(file, numbers, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_shard(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """A shard of an earlier run; None if it is not there or is not whole."""
    try:
        numbers = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return numbers if numbers.shape == shape and numbers.dtype == np.float32 else None
