"""What `prepare` writes of the rows that it gathered: pairs, rejects, catalogues, texts without a label."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.collect import SPLITS
from data.errors import FlipkdError
from data.readers import BINARY, file_format, read_rows
from data.records import Reject, raw_json
from data.schema import CATALOGUE, GRADE, PAIRS, RAW_TEXTS, REJECTS, write_table, write_tables
from pipeline.stages.prepare.expand import files_of
from pipeline.stages.prepare.input_kinds import PairsFile
from pipeline.stages.prepare.input_rows import InputRows, JudgementsFile
from pipeline.stages.prepare.inputs import input_path, source_name
from pipeline.stages.prepare.rows import Gathered, rejects_table

_BATCH_ROWS = 4096


def raw_rejects(gathered: Gathered, refused: pl.DataFrame, place: int) -> Iterator[Reject]:
    """A file's rejects in the order of its rows, each with all columns of its row.

    For those found late the file is read once more; of a Parquet or Arrow file for all, since only the columns
    that the config names are read the first time.

    Args:
        refused: `REFUSED`: rows found later (duplicates, contradictions).
    """
    file = files_of(gathered.config)[place]
    late = refused.filter(pl.col("file") == place).sort("source_row").select("source_row", "reason").iter_rows()
    early = _waiting(gathered.folder / f"rejects-{place}.parquet")
    if file_format(input_path(file.path), file.format) in BINARY:
        yield from _again(file, heapq.merge(((one.number, one.reason) for one in early), late))
    else:
        yield from heapq.merge(early, _again(file, late))


def _waiting(path: Path) -> Iterator[Reject]:
    with pq.ParquetFile(path) as waiting:
        for group in range(waiting.num_row_groups):
            columns = waiting.read_row_group(group).to_pydict().values()
            yield from map(Reject, *columns)


def _again(file: InputRows, wanted: Iterator[tuple[int, str]]) -> Iterator[Reject]:
    """Some rows of a file, by number and reason, in order."""
    number, reason = next(wanted, (None, ""))
    if number is None:
        return
    path = input_path(file.path)
    for row in read_rows(path, file.format, file.column_names):
        if row.number == number:
            yield Reject(number, reason, row.raw if isinstance(row, Reject) else raw_json(row.values))
            number, reason = next(wanted, (None, ""))
            if number is None:
                return
    raise FlipkdError(f"{path}: its rows changed while it was read; run again when nothing writes to it")


def write_rejects(gathered: Gathered, refused: pl.DataFrame, path: Path) -> None:
    """Write `rejects.parquet`: all rejects of all files, in order."""

    def tables() -> Iterator[pa.Table]:
        for place, file in enumerate(files_of(gathered.config)):
            source = source_name(file)
            rows: list[Reject] = []
            characters = 0
            for reject in raw_rejects(gathered, refused, place):
                rows.append(reject)
                characters += len(reject.raw)
                if len(rows) >= _BATCH_ROWS or characters > 2**24:
                    yield _with(rejects_table(rows), REJECTS, source=source)
                    rows, characters = [], 0
            yield _with(rejects_table(rows), REJECTS, source=source)

    write_tables(tables(), path, REJECTS)


def write_catalogue(gathered: Gathered, path: Path) -> None:
    """Write `catalogue.parquet`: the entries of all retrieval sets and catalogues, in their order."""

    def tables() -> Iterator[pa.Table]:
        for found in gathered.collections.values():
            ids, texts = list(found.entries), list(found.entries.values())
            yield pa.table([ids, texts, [found.name] * len(ids)], schema=CATALOGUE)

    write_tables(tables(), path, CATALOGUE)


def write_pairs(gathered: Gathered, splits: np.ndarray, built: pl.DataFrame, path: Path) -> int:
    """Write `pairs.parquet`, by split, then in the order of files and rows.

    Args:
        splits: of each of `gathered.pairs`: its split's place in `SPLITS`, or -1 for a pair that is not taken.
        built: pairs that were built, with the columns of `pairs.parquet` and `file`, in their order.

    Returns:
        The characters of all texts.
    """
    characters = 0
    graded = any(isinstance(file, JudgementsFile) for file in files_of(gathered.config))
    schema = PAIRS.append(GRADE) if graded else PAIRS
    grades = gathered.judgements().select("file", "source_row", "grade")
    heights = dict(gathered.pairs.group_by("file").len().iter_rows())

    def tables() -> Iterator[pa.Table]:
        for number, split in enumerate(SPLITS):
            start = 0
            for place, file in enumerate(files_of(gathered.config)):
                if isinstance(file, PairsFile):
                    end = start + heights.get(place, 0)
                    waiting = gathered.folder / f"pairs-{place}.parquet"
                    for table in _chosen(waiting, splits[start:end] == number):
                        given = _with(table, PAIRS, source=source_name(file), split=split)
                        yield _graded(given, grades.filter(file=place)) if graded else given
                    start = end
                own = built.filter((pl.col("file") == place) & (pl.col("split") == split))
                without = own.select(*PAIRS.names, pl.lit(None, pl.Int32).alias("grade"))
                yield without.select(schema.names).to_arrow().cast(schema)

    def counted() -> Iterator[pa.Table]:
        nonlocal characters
        for table in tables():
            for name in ("text_a", "text_b"):
                lengths = pc.utf8_length(table[name])  # pyright: ignore[reportAttributeAccessIssue]
                characters += pc.sum(lengths).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
            yield table

    write_tables(counted(), path, schema)
    return characters


def _chosen(path: Path, chosen: np.ndarray) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as waiting:
        start = 0
        for group in range(waiting.num_row_groups):
            end = start + waiting.metadata.row_group(group).num_rows
            if chosen[start:end].any():
                yield waiting.read_row_group(group).filter(pa.array(chosen[start:end]))
            start = end


def _graded(table: pa.Table, grades: pl.DataFrame) -> pa.Table:
    """Pairs of one file with the grades of its judgements."""
    rows = pl.DataFrame(table.select(["source_row"])).join(
        grades, on="source_row", how="left", maintain_order="left"
    )
    return table.append_column(GRADE, rows["grade"].to_arrow())


def _with(table: pa.Table, schema: pa.Schema, **constants: str) -> pa.Table:
    """The table with constant columns, in the schema's order."""
    for name, value in constants.items():
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    return table.select(schema.names).cast(schema)


def write_raw_texts(gathered: Gathered, texts: pl.DataFrame, path: Path) -> None:
    """Write `texts.parquet`.

    Args:
        texts: those of `gathered.raw` that are taken.
    """
    names = pl.Series([source_name(file) for file in files_of(gathered.config)], dtype=pl.String)
    table = texts.select("text", names.gather(texts["file"]).alias("source"), "source_row")
    write_table(table.to_arrow(), path, RAW_TEXTS)
