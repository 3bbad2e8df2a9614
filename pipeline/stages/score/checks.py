"""What must hold of a teacher's embeddings and scores before anything is built on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from data.errors import FlipkdError
from pipeline.stages.score.shards import blocks

BLOCK_ROWS = 16_384
MOST_SIMILAR = 0.999  # mean pairwise cosine above which a space tells nothing apart
LEAST_SPREAD = 1e-4  # standard deviation of the scores
EXPLANATION = (
    "such a teacher tells no texts apart, and everything after it would learn noise. Take another teach.model, "
    "lower teach.learning_rate, or set teach.tune to false"
)


def check_embeddings(vectors: np.ndarray, texts: Sequence[str]) -> float | None:
    """Stop at vectors that are not numbers, not of length 1, all alike, or all but alike.

    Args:
        vectors: (n, d), for n distinct texts.

    Returns:
        The mean cosine of all pairs of different texts, (|sum of x|² - sum of |x|²) / (n (n - 1)); None if n < 2.

    Raises:
        FlipkdError: what is wrong, and with which text.
    """
    total, squares, constant = np.zeros(vectors.shape[1]), 0.0, True
    for rows in blocks(len(vectors), BLOCK_ROWS):
        block = np.asarray(vectors[rows], dtype=np.float64)
        lengths = np.linalg.norm(block, axis=1)
        bad = np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))  # also catches NaN
        if len(bad):
            first = rows.start + int(bad[0])
            what = f"a vector of length {lengths[bad[0]]:g}" if np.isfinite(lengths[bad[0]]) else "NaN or infinity"
            raise FlipkdError(
                f"score: the teacher gives {what} for the text {texts[first][:80]!r} (text_id {first}) and maybe "
                "others; its weights are damaged or it diverged while it was tuned. Take another teach.model, "
                "lower teach.learning_rate, or set teach.tune to false"
            )
        constant = constant and bool(np.abs(block - np.asarray(vectors[0], dtype=np.float64)).max() < 1e-6)
        total += block.sum(axis=0)
        squares += float((lengths**2).sum())
    count = len(vectors)
    if count < 2:
        return None
    if constant:
        raise FlipkdError(f"score: the teacher gives one and the same vector for all {count} texts; {EXPLANATION}")
    mean = float((total @ total - squares) / (count * (count - 1)))
    if mean > MOST_SIMILAR:
        raise FlipkdError(
            f"score: the teacher's space has collapsed: the mean cosine of two different texts is {mean:.5f}, "
            f"above {MOST_SIMILAR}; {EXPLANATION}"
        )
    return mean


def check_scores(scores: np.ndarray) -> None:
    """Stop at scores that do not vary.

    Args:
        scores: (n,).

    Raises:
        FlipkdError: their standard deviation is below 1e-4.
    """
    if len(scores) > 1 and float(np.std(scores, dtype=np.float64)) < LEAST_SPREAD:
        raise FlipkdError(
            f"score: all {len(scores)} pairs get a score within {np.ptp(scores):.1e} of each other; {EXPLANATION}"
        )


def check_files(pairs: Path, scores: Path, embeddings: Path) -> None:
    """Read back what was written: as many scores as pairs, in their order, and ids that lead to the right texts.

    Raises:
        FlipkdError: they do not agree, which is an error of flipkd or of the disk.
    """
    ids = pl.scan_parquet(embeddings).select("text_id", "text")
    found = ids.select(
        count=pl.len(),
        distinct=pl.col("text_id").n_unique(),
        low=pl.col("text_id").min(),
        high=pl.col("text_id").max(),
    ).collect()
    count, distinct, low, high = found.row(0)
    if (distinct, low, high) != (count, 0, count - 1):
        raise FlipkdError(f"score: text_id in {embeddings.name} is not 0 to {count - 1}, each once; run again")
    wanted, got = (pq.read_metadata(path).num_rows for path in (pairs, scores))
    if wanted != got:
        raise FlipkdError(f"score: {got} scores for the {wanted} pairs of {pairs.name}; run again")
    rows = pl.scan_parquet(scores)
    wrong = 0
    for side in ("text_a", "text_b"):
        named = rows.select(pl.col(f"{side}_id").alias("text_id"), pl.col(side).alias("wanted"))
        led_to = named.join(ids, on="text_id", how="left")
        wrong += _count(led_to.filter(~pl.col("wanted").eq_missing(pl.col("text"))))
    columns = ("pair_id", "text_a", "text_b")
    copies = rows.select(pl.col(name).alias(f"{name}_copy") for name in columns)
    both = pl.concat([pl.scan_parquet(pairs).select(columns), copies], how="horizontal")
    differs = pl.any_horizontal(~pl.col(name).eq_missing(pl.col(f"{name}_copy")) for name in columns)
    moved = _count(both.filter(differs))
    if wrong or moved:
        raise FlipkdError(
            f"score: {moved} of the rows written differ from {pairs.name}, and {wrong} ids lead to another text; "
            "run again"
        )


def _count(rows: pl.LazyFrame) -> int:
    return rows.select(pl.len()).collect().item()
