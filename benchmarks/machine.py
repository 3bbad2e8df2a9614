"""What this machine can do at best, which every other benchmark is a share of: python benchmarks/machine.py

Matrix products at the shapes of the default student (fp32 and bf16), copying memory, writing and reading a file,
imports. Medians; the last line is JSON. Whether the machine is busy shows in its load, which stands first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROUNDS, LONG = 7, 5.0
# Rows are the tokens of a batch, the other two a layer's width and its feed-forward width (SmolLM2-135M).
SHAPES = {"batch": (2048, 576, 1536), "query": (16, 576, 1536), "square": (2048, 2048, 2048)}
FILE_MB = 256
IMPORTS = ("torch", "transformers", "sentence_transformers", "polars", "prefect")


def main() -> None:
    """Measure and print."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"{len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    found: dict[str, float] = {}
    for kind in (torch.float32, torch.bfloat16):
        for name, shape in SHAPES.items():
            found[f"{name}_{str(kind).removeprefix('torch.')}_gflops"] = products(shape, kind, device)
    found |= {"memory_gb_per_s": memory()} | disk() | {f"import_{name}_s": imported(name) for name in IMPORTS}
    for name, value in found.items():
        print(f"  {name:<28} {value:10.2f}")
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


def products(shape: tuple[int, int, int], kind: torch.dtype, device: torch.device) -> float:
    """Billions of floating point operations a second of x W, (rows, width) by (width, wide)."""
    rows, width, wide = shape
    x, w = torch.randn(rows, width, device=device, dtype=kind), torch.randn(width, wide, device=device, dtype=kind)
    times = max(1, int(2e9 / (2 * rows * width * wide)))

    def many() -> None:
        for _ in range(times):
            torch.mm(x, w)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return 2 * rows * width * wide * times / median(many) / 1e9


def memory() -> float:
    """GB a second that a copy of more than the caches hold reads and writes."""
    source = torch.ones(2**27)  # 0.5 GB
    target = torch.empty_like(source)
    return 2 * source.nbytes / median(lambda: target.copy_(source)) / 1e9


def disk() -> dict[str, float]:
    """MB a second, written and flushed, and read again; the reading may come out of the page cache."""
    block = os.urandom(2**20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")

        def write() -> None:
            with path.open("wb") as file:
                for _ in range(FILE_MB):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())

        def read() -> None:
            with path.open("rb") as file:
                while file.read(2**20):
                    pass

        return {"write_mb_per_s": FILE_MB / median(write, 3), "read_mb_per_s": FILE_MB / median(read, 3)}


def imported(name: str) -> float:
    """Seconds to import a package in a process of its own, without what a bare Python takes."""
    bare, own = (
        median(lambda code=code: subprocess.run([sys.executable, "-c", code], check=True), 3)
        for code in ("pass", f"import {name}")
    )
    return own - bare


def median(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of a call, after a first one; of fewer where each takes long."""
    call()
    seconds: list[float] = []
    while len(seconds) < rounds and sum(seconds) < LONG:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
