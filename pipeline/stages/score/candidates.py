"""`candidates.parquet`: the entries of a catalogue that the teacher ranks first for each query.

The file in which people find what is wrong in a FAQ: entries that rank high and carry no label, or label 0, are
missing matches perhaps; matches that rank low are wrong ones perhaps. The search is exact, a block of queries at a
time. Ranks count by the vectors' cosine, also where a cross-encoder has a part in `teacher_score`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from data.arrays import greatest
from data.schema import CANDIDATES, write_tables
from pipeline.stages.score.artifact import entries_of, queries_and_entries
from pipeline.stages.score.shards import blocks
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.score")
BLOCK_NUMBERS = 2**24  # cosines at a time


def write_candidates(
    folder: Path, sides: Mapping[str, str], whole: pl.DataFrame, vectors: np.ndarray, k: int
) -> dict[str, Any]:
    """Rank the catalogue for every query of every split.

    Args:
        folder: with `scores.parquet` and `embeddings.parquet`; gets `candidates.parquet`.
        sides: by source, the column that holds the entries. whole: all entries of retrieval sets.
        vectors: of all texts, (n, d), by `text_id`.
        k: entries a query; matches that rank behind them are written too.

    Returns:
        `queries`, `entries`, `k`, `matches`, `matches_beyond` (how many rank behind the first k).
    """
    rows = queries_and_entries(folder / "scores.parquet", sides)
    entries = entries_of(rows, whole, folder / "embeddings.parquet").with_row_index("place")
    labels = rows.select("query_id", "entry_id", "label").unique(
        ["query_id", "entry_id"], keep="first", maintain_order=True
    )
    queries = rows.select("query_id", "query", "split").unique("query_id", keep="first", maintain_order=True)
    count = min(k, entries.height)
    matches = labels.filter(label=1).join(entries.select("entry_id", "place"), on="entry_id")
    beyond = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal beyond
        catalogue = np.asarray(vectors[entries["entry_id"].to_numpy()])
        size = max(1, BLOCK_NUMBERS // max(entries.height, 1))
        with progress("ranking the catalogue", queries.height, "queries") as advance:
            for block in blocks(queries.height, size):
                asked = queries[block].with_row_index("row")
                cosines = np.asarray(vectors[asked["query_id"].to_numpy()]) @ catalogue.T
                found = _first(cosines, count)
                of_block = matches.join(asked.select("query_id", "row"), on="query_id")
                later = _ranks(cosines, of_block.select("row", "place")).filter(pl.col("rank") > count)
                beyond += later.height
                ranked = (
                    pl.concat([found, later])
                    .join(asked, on="row", how="left")
                    .join(entries, on="place", how="left")
                    .join(labels, on=["query_id", "entry_id"], how="left")
                    .sort("row", "rank")
                )
                yield ranked.select(CANDIDATES.names).to_arrow().cast(CANDIDATES)
                advance(asked.height)

    write_tables(tables(), folder / "candidates.parquet", CANDIDATES)
    log.info(
        "score: %d of %d matches rank behind the teacher's first %d of %d entries: see candidates.parquet",
        beyond, matches.height, count, entries.height,
    )  # fmt: skip
    return {
        "queries": queries.height,
        "entries": entries.height,
        "k": count,
        "matches": matches.height,
        "matches_beyond": beyond,
    }


def _first(cosines: np.ndarray, count: int) -> pl.DataFrame:
    """The first entries of each row: `row`, `place`, `rank` from 1, `teacher_score`; equals by their place."""
    nearest = greatest(cosines, count)
    values = np.take_along_axis(cosines, nearest, axis=1)
    rows = np.repeat(np.arange(len(cosines)), count)
    return _ranked(rows, nearest.ravel(), np.tile(np.arange(1, count + 1), len(cosines)), values.ravel())


def _ranks(cosines: np.ndarray, pairs: pl.DataFrame) -> pl.DataFrame:
    """The same of given pairs of `row` and `place`."""
    rows, places = pairs["row"].to_numpy(), pairs["place"].to_numpy()
    values = cosines[rows, places]
    before = [
        int((cosines[row] > value).sum() + (cosines[row, :place] == value).sum())
        for row, place, value in zip(rows, places, values, strict=True)
    ]
    return _ranked(rows, places, np.array(before, np.int64) + 1, values)


def _ranked(rows: np.ndarray, places: np.ndarray, ranks: np.ndarray, values: np.ndarray) -> pl.DataFrame:
    columns = {"row": rows, "place": places, "rank": ranks, "teacher_score": values}
    types = {"row": pl.UInt32, "place": pl.UInt32, "rank": pl.Int64, "teacher_score": pl.Float32}
    return pl.DataFrame(columns).cast(types)  # pyright: ignore[reportArgumentType]
