"""Memory between tensors that are in use goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from models.runtime.allocator import give_back_above
from tests.checkout import ROOT

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
# 400 MB in blocks that glibc keeps on its heap, every other one freed: holes that only trimming gives back.
HOLES = """
import psutil, numpy as np
from models.runtime.allocator import give_back_above, no_holes
rss = lambda: psutil.Process().memory_info().rss / 1e6
warm = np.ones(31 * 2**20 // 8)  # mapped and freed once, after which glibc keeps blocks of its size on the heap
del warm
def holes():
    blocks = [np.ones(2**20 // 8 * 2) for _ in range(200)]
    full = rss()
    del blocks[::2]
    return full, blocks
"""


def run(code: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", HOLES + code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return [float(word) for word in done.stdout.split()]


@GLIBC
def test_holes_go_back_above_the_limit_alone() -> None:
    full, kept, still, given = run(
        "full, blocks = holes()\n"
        "kept = rss(); assert not give_back_above(2**40); still = rss()\n"
        "assert give_back_above(0); print(full, kept, still, rss())"
    )
    assert abs(kept - still) < 5
    assert given < full - 150
    assert kept > full - 50


@GLIBC
def test_no_holes_are_left_where_they_are_not_wanted() -> None:
    for wanted in (True, False):
        full, kept = run(f"with no_holes({wanted}):\n    full, blocks = holes()\n    print(full, rss())")
        assert (kept < full - 150) is wanted


def test_a_process_below_its_limit_is_left_alone() -> None:
    assert not give_back_above(2**60)
