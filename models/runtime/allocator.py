"""Memory that is free and that glibc keeps: given back before a long training fills the machine with it.

Batches of many shapes leave holes of many sizes between what is still in use, and the next tensor of another size
gets new pages. A training's process so grows with its length (6 GB after 55 steps, 12 GB after 510, where a step
takes 3). Returning the holes after each step would cost a sixth of the time, since each page is cleared when it is
taken again; so they are returned where they have become as large as a step.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psutil


def give_back_above(limit: int | None) -> bool:
    """Let glibc return its free pages to the system, where this process holds more than so many bytes.

    Args:
        limit: None leaves it alone.

    Returns:
        Whether that was done; never where the C library is another one.
    """
    trim = _of_glibc("malloc_trim")
    if limit is None or trim is None or psutil.Process().memory_info().rss <= limit:
        return False
    trim(0)
    return True


@contextmanager
def no_holes(wanted: bool) -> Iterator[None]:
    """Inside the block glibc takes each large tensor from the system and gives it back at once.

    The process then holds what is in use and no more, and is twice as slow, since every page is cleared each time.

    Args:
        wanted: False does nothing.
    """
    option = _of_glibc("mallopt") if wanted else None
    if option:
        option(_MMAP_THRESHOLD, 2**20)
    try:
        yield
    finally:
        if option:
            option(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)


# From glibc's malloc.h; the second is where its threshold ends when it moves by itself, as it does at first.
_MMAP_THRESHOLD, _LARGEST_THRESHOLD = -3, 32 * 2**20


@cache
def _of_glibc(name: str) -> Any:
    """A function of glibc, or None where there is none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
