"""Arrays in files, memory-mapped, with their room on the disk taken; and the greatest numbers of a matrix."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def create_array(path: Path, shape: tuple[int, int]) -> np.memmap:
    """A float32 .npy file of that shape, memory-mapped, with its room on the disk taken.

    Raises:
        OSError: the disk is full; without taking the room first, writing to the map would kill the process.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def greatest(scores: np.ndarray, count: int) -> np.ndarray:
    """The places of the greatest numbers of each row, (rows, count), greatest first; equals by their place.

    Args:
        scores: (rows, columns). count: at most the columns, at least 1.
    """
    found = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.lexsort((found, -np.take_along_axis(scores, found, axis=1)), axis=1)
    return np.take_along_axis(found, order, axis=1)
