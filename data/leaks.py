"""The last look for leaks: over a finished `pairs.parquet`, by itself, whatever made the splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data.texts import fold, stable_number

_BATCH_ROWS = 8192
COLUMNS = ("text_a", "text_b", "group", "split", "source", "source_row")


def leaks(pairs: Path, examples: int = 3, entries: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Texts and groups that stand in two splits, after folding.

    Only the file is read, twice where there is something to tell. Texts are compared by 64 bits of a hash.

    Args:
        pairs: with the columns `COLUMNS`.
        examples: at most so many are told.
        entries: by source, the column that holds the entries of a catalogue, which may stand in every split.

    Returns:
        A line for each: what it is, and where it stands. Empty if nothing leaks.
    """
    found: list[str] = []
    for kind, columns in (("text", ("text_a", "text_b")), ("group", ("group",))):
        shared = _shared(pairs, columns, entries)
        if not len(shared):
            continue
        wanted = set(shared[:examples].tolist())
        places: dict[int, dict[str, str]] = {}
        shown: dict[int, str] = {}
        for batch in _batches(pairs):
            for row in batch.to_pylist():
                for name in columns:
                    value = row[name]
                    if value is None or entries.get(row["source"]) == name:
                        continue
                    if (code := _code(value)) in wanted:
                        shown.setdefault(code, value)
                        where = f"{row['split']} ({row['source']} row {row['source_row']}, {name})"
                        places.setdefault(code, {}).setdefault(row["split"], where)
        found += [f"the {kind} {shown[code]!r} stands in {' and '.join(places[code].values())}" for code in places]
    return found


def _shared(pairs: Path, columns: tuple[str, ...], entries: Mapping[str, str]) -> np.ndarray:
    """Codes of the values that stand in two splits, sorted."""
    by_split: dict[str, list[np.ndarray]] = {}
    for batch in _batches(pairs, [*columns, "split", *(["source"] if entries else [])]):
        split = batch["split"].to_numpy(zero_copy_only=False)
        for name in columns:
            column = batch[name]
            if sources := [source for source, own in entries.items() if own == name]:
                is_entry = pl.Series(batch["source"]).is_in(sources)
                column = pl.select(pl.when(~is_entry).then(pl.Series(column))).to_series().to_arrow()
            present = column.is_valid().to_numpy(zero_copy_only=False)
            codes = np.fromiter(map(_code, column.drop_null().to_pylist()), np.uint64)
            for held in np.unique(split[present]):
                by_split.setdefault(held, []).append(np.unique(codes[split[present] == held]))
    sets = [np.unique(np.concatenate(parts)) for parts in by_split.values()]
    shared = [np.intersect1d(a, b, assume_unique=True) for n, a in enumerate(sets) for b in sets[n + 1 :]]
    return np.unique(np.concatenate(shared)) if shared else np.empty(0, np.uint64)


def _code(value: str) -> int:
    return stable_number(fold(value))


def _batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(_BATCH_ROWS, columns=columns or list(COLUMNS))
