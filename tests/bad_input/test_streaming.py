"""Large files stream: memory follows the number of rows, not the number of bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.checkout import ROOT

MEGABYTE = 2**20
PROGRAM = """
import json, logging, resource, sys
from pathlib import Path
from data.errors import FlipkdError
from pipeline.config.config import PrepareConfig
from pipeline.stages.prepare.run import prepare
logging.disable(logging.CRITICAL)
path, out, more = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
config = PrepareConfig.model_validate({"inputs": [{"kind": "pairs", "path": str(path)}], **more})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
out.mkdir()
try:
    rows = prepare(config, out, 1, lambda texts: None, out / "rows")["rows"]
except FlipkdError as error:
    rows = str(error)
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


def grown_by(path: Path, **more: Any) -> tuple[Any, float]:
    """What `prepare` says of a file, and how much memory it takes at its peak, in MB, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path, path.with_name(f"{path.stem}-out"), json.dumps(more)],
        check=True, capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    rows, kilobytes = json.loads(done.stdout)
    return rows, kilobytes / 1024


def long_pairs(path: Path, rows: int) -> Path:
    """Pairs of 8,000 characters."""
    filler = " ".join(f"word{n}" for n in range(500))
    with path.open("w", encoding="utf-8") as file:
        file.write("text_a,text_b,label\n")
        for n in range(rows):
            file.write(f"first {n} {filler},second {n} {filler},{n % 2}\n")
    return path


def test_a_file_eight_times_as_large_takes_about_as_much_memory(tmp_path: Path) -> None:
    small, large = (long_pairs(tmp_path / f"{rows}.csv", rows) for rows in (1_500, 12_000))
    assert large.stat().st_size > 80 * MEGABYTE
    few, little = grown_by(small, max_characters=10_000)
    many, much = grown_by(large, max_characters=10_000)
    assert (few["pairs"], many["pairs"]) == (1_500, 12_000)
    assert much < little + 150, f"{little:.0f} MB grew to {much:.0f} MB"


def one_line(path: Path) -> Path:
    with path.open("wb") as file:
        file.write(b"text_a,text_b,label\n" if path.suffix == ".csv" else b"")
        for _ in range(96):
            file.write(b"x" * MEGABYTE)
    return path


def one_quote(path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write('text_a,text_b,label\n"never closed,b,1\n')
        file.writelines(f"first {n} {'x' * 900},second {n},{n % 2}\n" for n in range(60_000))
    return path


def rejected_rows(path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("text_a,text_b,label\n")
        file.writelines(f"first {n} {'x' * 3000},second {n},{n % 2}\n" for n in range(20_000))
        file.writelines(f"first {n},second {n},{n % 2}\n" for n in range(200))
    return path


def long_texts_in_a_small_file(path: Path) -> Path:
    names = pa.array([f"{n} " + "x" * (4 * MEGABYTE) for n in range(2)])
    texts = pa.DictionaryArray.from_arrays(pa.array([n % 2 for n in range(100)], pa.int32()), names)
    rows = pa.table({"text_a": texts, "text_b": [f"b {n}" for n in range(100)], "label": ["1"] * 100})
    pq.write_table(rows, path, compression="zstd")
    assert path.stat().st_size < MEGABYTE
    return path


@pytest.mark.parametrize(
    ("make", "name", "most", "said"),
    [
        (one_line, "line.csv", 250, "line.csv row 1"),
        (one_line, "line.jsonl", 250, "row 1 is too_long"),
        (one_quote, "quote.csv", 250, "'read': 60001"),
        (rejected_rows, "rejected.csv", 250, "20000 of 20200 rows"),
        (long_texts_in_a_small_file, "long.parquet", 700, "100 of 100 rows"),
    ],
)
def test_memory_is_bounded(make: Callable[[Path], Path], name: str, most: int, said: str, tmp_path: Path) -> None:
    rows, grown = grown_by(make(tmp_path / name))
    assert said in str(rows)
    assert grown < most, f"{grown:.0f} MB"
