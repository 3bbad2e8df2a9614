"""Artifacts of the teacher half that tests build on the spot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.schema import PAIRS, SCORES, UTTERANCES, write_table
from pipeline.contract.stage import Context
from pipeline.stages.teach.config import TeachConfig
from pipeline.store.store import Store
from tests.stores import write_manifest
from tests.tiny import WORDS


def context(folder: Path, seed: int = 7) -> Context:
    """A stage's context below a folder, its work folder made."""
    (folder / "work").mkdir(exist_ok=True)
    return Context(seed, folder / "final", folder / "work", Store(folder / "store"))


def write_pairs(folder: Path, rows: Iterable[dict[str, Any]], summary: Mapping[str, Any] | None = None) -> Path:
    """`pairs.parquet` from rows of `text_a`, `text_b`, `label`, `split` and optionally `group` and `source`."""
    folder.mkdir(parents=True, exist_ok=True)
    filled = [
        {"pair_id": f"p{n}", "source": "made", "source_row": n + 1, "group": None, **row}
        for n, row in enumerate(rows)
    ]
    write_table(pa.Table.from_pylist(filled, schema=PAIRS), folder / "pairs.parquet", PAIRS)
    write_manifest(folder, "prepare", {}, summary or {})
    return folder


def write_utterances(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """`utterances.parquet` from rows of `text`, `id`, `split`."""
    filled = [{"source": "made", "source_row": n + 1, **row} for n, row in enumerate(rows)]
    write_table(pa.Table.from_pylist(filled, schema=UTTERANCES), folder / "utterances.parquet", UTTERANCES)


def word_pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs that match iff they share all words but one; a fifth of them dev, a fifth test, the rest train."""
    draw, words = np.random.default_rng(seed), WORDS.split()
    rows = []
    for n in range(count):
        a, other = (list(draw.choice(words, draw.integers(3, 9), replace=False)) for _ in range(2))
        match = n % 2
        b = [*a[:-1], draw.choice(words)] if match else other
        split = ("dev", "test", "train", "train", "train")[n // 2 % 5]
        rows.append({"text_a": " ".join(a), "text_b": " ".join(b), "label": match, "split": split})
    return rows


def write_scores(folder: Path, rows: Iterable[tuple[float, int | None, str]]) -> Path:
    """`scores.parquet` from (score, label, split)."""
    folder.mkdir(parents=True, exist_ok=True)
    filled = [
        {
            "pair_id": f"p{n}",
            "text_a": f"a {n}",
            "text_b": f"b {n}",
            "label": label,
            "split": split,
            "group": None,
            "source": "made",
            "source_row": n + 1,
            "teacher_score": score,
            "text_a_id": 2 * n,
            "text_b_id": 2 * n + 1,
        }
        for n, (score, label, split) in enumerate(rows)
    ]
    write_table(pa.Table.from_pylist(filled, schema=SCORES), folder / "scores.parquet", SCORES)
    return folder


def untuned(model: Path, pairs: Path, folder: Path) -> Path:
    """A teach artifact that holds a model as it is."""
    from pipeline.stages.teach.run import run

    out = folder / "teach"
    out.mkdir(parents=True)
    run(TeachConfig.model_validate({"model": str(model), "tune": False}), {"prepare": pairs}, out, context(folder))
    return out
