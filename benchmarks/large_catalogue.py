"""A million pairs of 900,000 questions and 5,000 entries through `prepare`: seconds, memory, and a bare reading.

    python benchmarks/large_catalogue.py [--pairs 1000000]

Questions are held out, entries stand in every split. The bare reading is Polars' of the same CSV, each text hashed
and written to Parquet, in a process of its own too.
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [
    "card",
    "account",
    "transfer",
    "payment",
    "limit",
    "order",
    "refund",
    "code",
    "phone",
    "app",
    "cash",
    "fee",
]
CONFIG = """\
prepare:
  inputs:
    - {kind: pairs, path: pairs.csv, text_a: question, text_b: title, label: label, catalogue: text_b}
"""
PREPARE = """
from pathlib import Path
from pipeline.config.load import load_config
from pipeline.stages.prepare.run import prepare
Path("out").mkdir()
config = load_config(Path("config.yaml")).prepare
prepare(config, Path("out"), 13, lambda texts: 1 / 0, Path("scratch"))
"""
BARE = """
import polars as pl
frame = pl.read_csv("pairs.csv").with_columns(pl.col("question", "title").hash().name.suffix("_key"))
frame.write_parquet("bare.parquet", compression="zstd")
"""


def write(path: Path, pairs: int) -> None:
    """Nine questions of ten stand in one pair, the others in two; half of the pairs match."""
    draw = random.Random(0)  # noqa: S311  a sample, not a secret
    entries = [" ".join([*draw.choices(WORDS, k=5), str(n)]) for n in range(pairs // 200)]
    questions = [" ".join([*draw.choices(WORDS, k=9), str(n)]) for n in range(pairs * 9 // 10)]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "title", "label"])
        for n in range(pairs):
            rows.writerow([questions[n % len(questions)], entries[(n * 7919) % len(entries)], n % 2])


def measured(code: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in GB of a Python process of its own."""
    before = time.perf_counter()
    runner = (
        f"import resource, sys\n{code}\nsys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    done = subprocess.run(
        [sys.executable, "-c", runner], cwd=folder, check=True, stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return time.perf_counter() - before, int(done.stderr.split()[-1]) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "pairs.csv", asked.pairs)
        (folder / "config.yaml").write_text(CONFIG, "utf-8")
        size = (folder / "pairs.csv").stat().st_size / 1e6
        counts = f"{asked.pairs * 9 // 10:,} questions, {asked.pairs // 200:,} entries"
        print(f"{asked.pairs:,} pairs, {counts}, {size:.0f} MB")
        bare, bare_memory = measured(BARE, folder)
        ours, memory = measured(PREPARE, folder)
        print(f"bare read, hash and write: {bare:.1f} s, {bare_memory:.2f} GB")
        speed = f"{asked.pairs / ours:,.0f} pairs a second, {ours / bare:.0f} times"
        print(f"prepare: {ours:.1f} s ({speed}), {memory:.2f} GB")


if __name__ == "__main__":
    main()
