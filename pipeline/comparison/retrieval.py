"""Of a comparison on pairs that name a catalogue: how well each student finds the right entries, by query."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.evaluation.bootstrap import Numbers, resamples

METRICS = ("recall@1", "recall@5", "mrr@10", "ndcg@10")


def figures(measured: Path) -> Iterator[tuple[str, str, str, float]]:
    """Split, score, metric and value of a student that was measured; none without a catalogue."""
    file = measured / "retrieval.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    for split, told in found.items():
        for score, metrics in told["scores"].items():
            for metric in METRICS:
                yield split, score, metric, metrics[metric]["value"]


def queries_of_test(measured: Path) -> pl.DataFrame | None:
    """The test queries of a student that was measured: `query_id`, `group`, `score` and `METRICS`; or None."""
    file = measured / "queries.parquet"
    if not file.is_file():
        return None
    found = pl.scan_parquet(file).filter(split="test").select("query_id", "group", "score", *METRICS).collect()
    return found.sort("query_id") if found.height else None


def resampled(queries: pl.DataFrame, count: int, seed: int) -> dict[str, dict[str, tuple[float, Numbers]]]:
    """By score and metric: the mean over the queries, and over each resample of their groups, (count,).

    Args:
        queries: of one student, from `queries_of_test`; those of two students must be the same, so that the same
            are drawn.
    """
    weights = None
    found: dict[str, dict[str, tuple[float, Numbers]]] = {}
    for (score,), part in queries.group_by("score", maintain_order=True):
        if weights is None:
            _, together = np.unique(part["group"].to_numpy(), return_inverse=True)
            weights = np.concatenate(list(resamples(np.zeros(part.height, np.int64), count, seed, together)))
        values = {metric: part[metric].to_numpy() for metric in METRICS}
        found[str(score)] = {m: (float(own.mean()), weights @ own / weights.sum(1)) for m, own in values.items()}
    return found
