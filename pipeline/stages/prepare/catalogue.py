"""Pairs of queries and the entries of a catalogue: what decides their split, and how such data is recognised.

The texts of a side that is named as the catalogue link nothing: an entry stands beside many queries, in every
split. What is held out are the queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from data.collect import SPLITS
from data.splits import SPLIT, linked
from data.texts import stable_number
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.expand import files_of, key_of
from pipeline.stages.prepare.input_kinds import PairsFile
from pipeline.stages.prepare.input_rows import InputRows, JudgementsFile, PointersFile
from pipeline.stages.prepare.inputs import columns_of, source_name

KEYS = {"text_a": "key_a", "text_b": "key_b"}
# A side looks like a catalogue if each of its texts stands in so many rows, and the other side has so many times
# its texts: less for advice than for a guess.
_ROWS_PER_ENTRY = 3
_QUERIES_PER_ENTRY = 2.0
_QUERIES_FOR_ADVICE = 1.5


def catalogue_sides(config: PrepareConfig) -> dict[int, str]:
    """By a file's place in `prepare.inputs`, the side (`text_a` or `text_b`) that holds its entries."""
    return {
        place: file.catalogue
        for place, file in enumerate(files_of(config))
        if isinstance(file, PairsFile) and file.catalogue
    }


def entry_columns(config: PrepareConfig) -> dict[str, str]:
    """By a file's name in `source`, the column of `pairs.parquet` that holds its entries."""
    files = files_of(config)
    return {source_name(files[place]): side for place, side in catalogue_sides(config).items()}


def without_entries(pairs: pl.DataFrame, config: PrepareConfig) -> pl.DataFrame:
    """Pairs whose entries link nothing: their key is null.

    Args:
        pairs: with `file`, `key_a`, `key_b`.
    """
    sides = catalogue_sides(config)
    places = {side: [place for place, own in sides.items() if own == side] for side in set(sides.values())}
    return pairs.with_columns(
        pl.when(~pl.col("file").is_in(named)).then(KEYS[side]).alias(KEYS[side]) for side, named in places.items()
    )


def _entry(config: PrepareConfig) -> pl.Expr:
    """A pair's entry, a hash; null without a catalogue."""
    entry = pl.lit(None, pl.UInt64)
    for place, side in catalogue_sides(config).items():
        entry = pl.when(pl.col("file") == place).then(KEYS[side]).otherwise(entry)
    return entry


def entry_splits(pairs: pl.DataFrame, config: PrepareConfig, seed: int) -> pl.Series:
    """The split that each pair's entry is held out for: null, or `dev` or `test`.

    Args:
        pairs: with `file`, `key_a`, `key_b`.
        seed: of the entries that are drawn, by a hash of each: an entry that comes later moves few of the others.
    """
    entries = pairs.select(_entry(config).alias("entry"))["entry"]
    known = entries.drop_nulls().unique().to_list()
    in_order = sorted(known, key=lambda entry: stable_number(seed, "entry", str(entry)))
    test = round(config.splitting.test * len(in_order))
    dev = test + round(config.splitting.dev * len(in_order))
    names = dict.fromkeys(in_order[:test], "test") | dict.fromkeys(in_order[test:dev], "dev")
    return entries.replace_strict(names, default=None, return_dtype=pl.String).cast(SPLIT).alias("entry_split")


def with_entry_splits(links: pl.DataFrame, pairs: pl.DataFrame, held_out: pl.Series) -> pl.DataFrame:
    """Give queries that a held-out entry answers its split, unless a row that they are linked with has one.

    Args:
        links: of the pairs, then of utterances; see `data.splits`.
        pairs: with `label`.
        held_out: from `entry_splits`.
    """
    component = linked(links)
    has_split = np.isin(component, component[links["split"].is_not_null().to_numpy()])
    answered = (pairs["label"] == 1).fill_null(False).to_numpy() & ~has_split[: pairs.height]
    wanted = pl.select(pl.when(pl.Series(answered)).then(held_out)).to_series()
    rest = pl.Series([None] * (links.height - pairs.height), dtype=SPLIT)
    return links.with_columns(pl.coalesce("split", pl.concat([wanted.rename("split"), rest])).alias("split"))


def count_catalogues(config: PrepareConfig, pairs: pl.DataFrame) -> dict[str, Any]:
    """For each file with a catalogue: its side, how many queries and entries it has, and entries that train lacks.

    Args:
        pairs: with `file`, `split`, `key_a`, `key_b`.

    Returns:
        By source: `side`, `set` (of a retrieval set, its name), `queries`, `entries`; by split `entries` and
        `unseen_entries`, those that no pair of train has.
    """
    found: dict[str, Any] = {}
    files = files_of(config)
    for place, side in catalogue_sides(config).items():
        key, other = KEYS[side], KEYS["text_a" if side == "text_b" else "text_b"]
        rows = pairs.filter(pl.col("file") == place)
        own = _set_of(files[place])
        whose = _collection_of(files[place])
        together = [place] if whose is None else [n for n, one in enumerate(files) if _collection_of(one) == whose]
        trained = pairs.filter(pl.col("file").is_in(together), pl.col("split") == "train")[key].unique()
        by_split = {split: rows.filter(pl.col("split") == split)[key].unique() for split in SPLITS}
        found[source_name(files[place])] = {
            "side": side,
            **({"set": own} if own else {}),
            "queries": rows[other].n_unique(),
            "entries": rows[key].n_unique(),
            "splits": {
                split: {"entries": len(there), "unseen_entries": int((~there.is_in(trained.implode())).sum())}
                for split, there in by_split.items()
            },
        }
    return found


def _collection_of(file: InputRows) -> int | None:
    """Of a file that names entries by their ids: whose they are, by the place in `prepare.inputs`."""
    return file.folder if isinstance(file, JudgementsFile | PointersFile) else None


def _set_of(file: InputRows) -> str | None:
    """The retrieval set that a file of judgements belongs to."""
    return file.set_name if isinstance(file, JudgementsFile) else None


def is_like_catalogue(rows: int, few: int, many: int, queries: float = _QUERIES_PER_ENTRY) -> bool:
    """Whether the side with fewer texts looks like a catalogue, by how many there are on both sides."""
    return rows > 0 and rows >= _ROWS_PER_ENTRY * few and many >= queries * few


def catalogue_advice(config: PrepareConfig, pairs: pl.DataFrame) -> str:
    """Which columns look like a catalogue though none is named, and the line to add; empty if none does.

    Args:
        pairs: with `file`, `key_a`, `key_b`.
    """
    return " ".join(_advice(config, pairs))


def _advice(config: PrepareConfig, pairs: pl.DataFrame) -> Iterator[str]:
    for place, file in enumerate(files_of(config)):
        if not isinstance(file, PairsFile) or file.catalogue:
            continue
        rows = pairs.filter(pl.col("file") == place)
        texts = {side: rows[key].n_unique() for side, key in KEYS.items()}
        few, many = sorted(texts, key=lambda side: texts[side])
        if not is_like_catalogue(rows.height, texts[few], texts[many], _QUERIES_FOR_ADVICE):
            continue
        columns = columns_of(file)
        yield (
            f"{source_name(file)}: the column {columns[few]!r} looks like a catalogue: {texts[few]} texts, each "
            f"in {rows.height / texts[few]:.0f} rows on average, beside {texts[many]} texts of {columns[many]!r}. "
            f"If its texts may stand in every split, add this line to {key_of(file)}:\n"
            f"    catalogue: {few}"
        )
