"""What a short spin of waiting threads is worth beside a busy process: python benchmarks/busy_machine.py

flipkd sets GOMP_SPINCOUNT (see pipeline/__init__.py). This times the same training steps of a small network with
and without it, on a quiet machine and beside one process that keeps one core busy, in turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

STEPS = """
import time, torch
net = torch.nn.Sequential(*[m for _ in range(12) for m in (torch.nn.Linear(384, 384), torch.nn.GELU())])
x = torch.randn(1500, 384)
for step in range(12):
    if step == 2:
        started = time.perf_counter()
    net(x).square().mean().backward()
print(time.perf_counter() - started)
"""
ROUNDS = 5


def seconds(spin: bool) -> float:
    """Ten training steps in a process of their own, with libgomp's own spin or with a short one."""
    environment = {k: v for k, v in os.environ.items() if k not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    if not spin:
        environment["GOMP_SPINCOUNT"] = "2000"
    done = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True, env=environment)
    return float(done.stdout)


def main() -> None:
    """Print medians and their ratio, quiet and busy."""
    for name in ("quiet", "busy"):
        other = [sys.executable, "-c", "while True: pass"] if name == "busy" else [sys.executable, "-c", "pass"]
        neighbour = subprocess.Popen(other)
        pairs = [(seconds(spin=True), seconds(spin=False)) for _ in range(ROUNDS)]
        neighbour.kill()
        neighbour.wait()
        long, short = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{name}: libgomp's spin {long:.2f} s, short spin {short:.2f} s, ratio {long / short:.2f}")


if __name__ == "__main__":
    main()
