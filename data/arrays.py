"""Arrays in files, memory-mapped, with their room on the disk taken."""

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
