"""Texts that the teacher takes for nearly the same, within and across splits, from the vectors that are there."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.splits import SPLIT
from pipeline.terminal.progress import progress

if TYPE_CHECKING:
    import polars as pl

BLOCK_NUMBERS = 2**24  # cosines held at a time


def near_texts(scores: Path, embeddings: Path, at_least: float, count: int, across: bool) -> pl.DataFrame:
    """The nearest pairs of texts.

    Args:
        scores: rows with `text_a_id`, `text_b_id` and `split`. embeddings: `embeddings.parquet`.
        at_least: the lowest cosine. count: how many pairs at most.
        across: only texts that have no split in common.

    Returns:
        `cosine`, `text_1`, `text_2`, and `splits_1`, `splits_2` (the splits whose pairs hold a text, in order);
        the nearest first.
    """
    import polars as pl

    rows = pl.scan_parquet(scores)
    sides = [rows.select(pl.col(f"text_{side}_id").alias("text_id"), "split") for side in ("a", "b")]
    order = pl.col("split").cast(SPLIT)
    where = pl.concat(sides).unique().sort("text_id", order).group_by("text_id", maintain_order=True).agg("split")
    texts = pl.scan_parquet(embeddings).join(where, on="text_id", maintain_order="left").collect()
    vectors = texts["embedding"].to_numpy().reshape(texts.height, -1)
    splits = [dict.fromkeys(found or ()).keys() for found in texts["split"].to_list()]
    best: list[tuple[float, int, int]] = []
    step = max(1, BLOCK_NUMBERS // max(1, len(vectors)))
    with progress("comparing", len(vectors), "texts") as advance:
        for start in range(0, len(vectors), step):
            cosines = vectors[start : start + step] @ vectors[start:].T
            pairs = np.argwhere(np.triu(cosines >= at_least, 1)).tolist()
            found = [(float(cosines[one, other]), start + one, start + other) for one, other in pairs]
            wanted = (pair for pair in found if not across or not splits[pair[1]] & splits[pair[2]])
            best = heapq.nlargest(count, [*best, *wanted], key=lambda pair: (pair[0], -pair[1], -pair[2]))
            advance(len(cosines))
    names = texts["text"].to_list()
    return pl.DataFrame(
        [(c, names[a], names[b], ", ".join(splits[a]), ", ".join(splits[b])) for c, a, b in best],
        schema={"cosine": pl.Float64, "text_1": pl.String, "text_2": pl.String, "splits_1": pl.String,
                "splits_2": pl.String},
        orient="row",
    )  # fmt: skip
