"""What scoring costs on a night with 1 % new texts, against the first night: python benchmarks/second_night.py

The packaged MiniLM as it is (`teach.tune: false`), on the questions of banking77 (`../shared/data`) where they
are, else of the FAQ sample that ships with flipkd. Each night runs prepare, teach and score as `flipkd run` does,
in one process and one new store: the first with 99 % of the pairs, the second with all of them, and for comparison
all of them again without the embeddings of the first night. A small run before takes what a process's first model
costs. Beside the seconds stands the time of embedding alone: the rest is what every night pays, loading the model
and writing the files. Seconds of the processor stand beside those of the clock, which other processes stretch.
"""

from __future__ import annotations

import csv
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.config.config import Config
from pipeline.runner.execute import execute
from pipeline.runner.plan import Step, plan
from pipeline.stages.score import vectors as stage
from pipeline.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
BANKING = ROOT.parent / "shared" / "data" / "banking77" / "train.csv"
FAQ = ROOT / "data" / "sample" / "faq.csv"
SHARE = 0.01


def questions() -> tuple[str, list[tuple[str, str]]]:
    """The data's name, and its distinct (text, id)."""
    path, identity = (BANKING, "category") if BANKING.is_file() else (FAQ, "faq_id")
    rows = pl.read_csv(path).unique("text", maintain_order=True).select("text", identity)
    return path.parent.name, list(rows.iter_rows())


def write_pairs(path: Path, rows: list[tuple[str, str]]) -> None:
    """Each text in one pair, so that a share of the pairs is that share of the texts."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text_a", "text_b", "label"])
        for (a, one), (b, other) in zip(rows[::2], rows[1::2], strict=False):
            out.writerow([a, b, int(one == other)])


def score(folder: Path, store: Store) -> dict[str, Any]:
    """Run a night on `folder/pairs.csv`; the summary and seconds of its score."""
    config = Config.model_validate(
        {
            "store": str(store.root),
            "prepare": {"inputs": [{"kind": "pairs", "path": str(folder / "pairs.csv")}]},
            "teach": {"tune": False},
        }
    )
    steps = plan(config, "score")
    *before, last = steps
    for step in before:
        execute(step, config, store)
    return timed(last, config, store)


def timed(step: Step, config: Config, store: Store) -> dict[str, Any]:
    """Run `score`; its summary, and the seconds of embedding and of the whole stage by clock and processor."""
    plain, seconds = stage.embed_in_shards, {}

    def embedding(*args: Any, **how: Any) -> Any:
        clock, processor = time.perf_counter(), time.process_time()
        found = plain(*args, **how)
        seconds["embedding"] = time.perf_counter() - clock, time.process_time() - processor
        return found

    stage.embed_in_shards = embedding
    clock, processor = time.perf_counter(), time.process_time()
    execute(step, config, store)
    seconds["whole stage"] = time.perf_counter() - clock, time.process_time() - processor
    stage.embed_in_shards = plain
    return store.manifest("score", step.key).summary | {"key": step.key, "seconds": seconds}


def paired(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Rows in an order in which about half of the neighbours (0 and 1, 2 and 3, ...) share their id."""
    draw = random.Random(0)  # noqa: S311
    ordered = sorted(rows, key=lambda row: row[1])
    couples = [ordered[n : n + 2] for n in range(0, len(ordered) - 1, 2)]
    draw.shuffle(couples)
    half = len(couples) // 2
    seconds = [couple[1] for couple in couples[:half]]
    mixed = [
        row
        for couple, second in zip(couples[:half], seconds[1:] + seconds[:1], strict=True)
        for row in (couple[0], second)
    ]
    kept = [row for couple in couples[half:] for row in couple]
    pairs = [(mixed + kept)[n : n + 2] for n in range(0, 2 * len(couples), 2)]
    draw.shuffle(pairs)
    return [row for pair in pairs for row in pair]


def main() -> None:
    """Print a line for each night, and the ratios."""
    name, found = questions()
    rows = paired(found)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = Store(folder / "store")
        write_pairs(folder / "pairs.csv", rows[:400])
        score(folder, Store(folder / "warm"))
        nights = {}
        for night, last in (("first", 2 * round(len(rows) * (1 - SHARE) / 2)), ("second", len(rows))):
            write_pairs(folder / "pairs.csv", rows[:last])
            nights[night] = score(folder, store)
        second = pl.read_parquet(store.path("score", nights["second"]["key"]) / "scores.parquet")
        shutil.rmtree(store.root / "embeddings")
        store.discard("score", nights["second"]["key"])
        nights["second, nothing kept"] = score(folder, store)
        again = pl.read_parquet(store.path("score", nights["second"]["key"]) / "scores.parquet")
    print(f"{name}: {len(rows)} texts")
    for night, told in nights.items():
        print(f"{night}: {told['texts_embedded']} texts embedded, {told['texts_reused']} reused")
        for what, (clock, processor) in told["seconds"].items():
            print(f"  {what:<12} {clock:7.2f} s by the clock, {processor:7.2f} s of the processor")
    for what in ("embedding", "whole stage"):
        one, two = nights["first"]["seconds"][what], nights["second"]["seconds"][what]
        print(f"{what}: second / first {two[0] / one[0]:.3f} by the clock, {two[1] / one[1]:.3f} of the processor")
    same = "equal" if second.equals(again) else "NOT EQUAL"
    print(f"scores of the second night with and without the kept embeddings are {same}")


if __name__ == "__main__":
    main()
