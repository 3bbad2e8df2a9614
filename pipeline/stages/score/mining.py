"""Pairs without a label that the teacher makes of training texts: each text beside near ones and middling ones.

The filter decides them by its bounds for unlabelled pairs (`filter.tau_accept`, `filter.tau_reject`), so texts
that nobody labelled, a query log say, become training data; what lies between the bounds stays in the files as
uncertain. Augmented SBERT (Thakur et al., 2021) does the like in the usual direction. With a catalogue, queries
are put beside its entries, without one texts beside texts. Nothing is drawn by a seed: which middling texts are
taken follows from the texts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data.arrays import greatest
from data.schema import PAIRS, ROW_GROUP_ROWS, write_tables
from data.texts import pair_id_of_keys, stable_number, text_key
from pipeline.stages.score import candidates
from pipeline.stages.score.config import Mining
from pipeline.stages.score.shards import blocks
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.score")
SOURCE = "mined"


def add_mined(
    pairs: Path,
    path: Path,
    texts: list[str],
    vectors: np.ndarray,
    more: list[str],
    sides: Mapping[str, str],
    settings: Mining,
) -> int:
    """Write the pairs, and those that are mined behind them.

    Args:
        pairs: `pairs.parquet`. path: of what is written.
        texts: all that have a vector, in order; vectors (n, d).
        more: training texts besides those of pairs.
        sides: by source, the column that holds the entries of a catalogue.

    Returns:
        How many were mined.
    """
    rows = pl.scan_parquet(pairs).filter(split="train").select("text_a", "text_b", "source").collect()
    asked, entries = _sides(rows, sides)
    place = {text: n for n, text in enumerate(texts)}
    known = set(pl.scan_parquet(pairs).select("pair_id").collect()["pair_id"])
    asked = list(dict.fromkeys([*asked, *more]))
    chosen = _mined(asked, entries or asked, place, vectors, known, settings)
    mined = pl.DataFrame(
        {
            "pair_id": list(chosen),
            "text_a": [a for a, _ in chosen.values()],
            "text_b": [b for _, b in chosen.values()],
            "label": None,
            "split": "train",
            "group": None,
            "source": SOURCE,
            "source_row": range(1, len(chosen) + 1),
        },
        schema=dict.fromkeys(PAIRS.names, pl.String) | {"label": pl.Int8, "source_row": pl.Int64},
    )
    schema = pq.read_schema(pairs)
    added = mined.with_columns(pl.lit(None).alias(name) for name in schema.names if name not in PAIRS.names)

    def tables() -> Iterator[pa.Table]:
        with pq.ParquetFile(pairs) as file:
            for batch in file.iter_batches(ROW_GROUP_ROWS):
                yield pa.table(batch)
        yield added.select(schema.names).to_arrow().cast(schema)

    write_tables(tables(), path, schema)
    log.info("score: %d pairs mined of %d texts", mined.height, len(asked))
    return mined.height


def _mined(
    asked: list[str],
    beside: list[str],
    place: Mapping[str, int],
    vectors: np.ndarray,
    known: set[str],
    settings: Mining,
) -> dict[str, tuple[str, str]]:
    """The pairs by their ids.

    Args:
        beside: the texts that each of `asked` is put beside. place: of each text's vector.
        known: ids of pairs that are there, which are not made again.
    """
    found: dict[str, tuple[str, str]] = {}
    keys = {text: text_key(text) for text in (*asked, *beside)}
    others = np.asarray(vectors[[place[text] for text in beside]])
    depth = min(settings.among + 1, len(beside))  # a text is the nearest to itself
    with progress("mining pairs", len(asked), "texts") as advance:
        for block in blocks(len(asked), max(1, candidates.BLOCK_NUMBERS // len(beside))):
            cosines = np.asarray(vectors[[place[text] for text in asked[block]]]) @ others.T
            for text, row in zip(asked[block], greatest(cosines, depth).tolist(), strict=True):
                pairs = [(pair_id_of_keys(keys[text], keys[beside[n]]), beside[n]) for n in row]
                fresh = [
                    (pair_id, other)
                    for pair_id, other in pairs
                    if keys[other] != keys[text] and pair_id not in known and pair_id not in found
                ]
                middling = sorted(fresh[settings.nearest :], key=lambda pair: stable_number("mined", pair[0]))
                for pair_id, other in [*fresh[: settings.nearest], *middling[: settings.middling]]:
                    found[pair_id] = (text, other)
            advance(len(cosines))
    return found


def _sides(rows: pl.DataFrame, sides: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The texts of train that are put beside others, and the entries of catalogues; the latter may be none."""
    asked: list[str] = []
    entries: list[str] = []
    for (source,), part in rows.group_by("source", maintain_order=True):
        for side in ("text_a", "text_b"):
            (entries if sides.get(str(source)) == side else asked).extend(part[side].unique(maintain_order=True))
    return list(dict.fromkeys(asked)), list(dict.fromkeys(entries))
