"""A user's file with texts in some columns: looked through once, then read in chunks with every column it has."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import CSVWriter

from data.errors import FlipkdError
from data.readers import check_columns, file_format, header, listed, read_rows
from data.records import Reject
from data.schema import writer
from data.texts import clean


class TableFile(Protocol):
    """What tables are written to, one after the other."""

    def write_table(self, table: pa.Table) -> None: ...


@contextmanager
def written(out: Path, schema: pa.Schema) -> Iterator[TableFile]:
    """A file that appears under its name only when it is complete: CSV or JSONL by its ending, else Parquet.

    Raises:
        FlipkdError: it cannot be written, or CSV cannot hold a column.
    """
    check_place(out)
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    if nested and out.suffix.lower() == ".csv":
        raise FlipkdError(
            f"{out}: CSV has no room for {listed(nested)}, lists or structures; write .jsonl or .parquet"
        )
    temporary = out.with_name(f".{out.name}.writing")
    try:
        with _opened(temporary, out.suffix.lower(), schema) as file:
            yield file
        temporary.replace(out)
    except OSError as error:
        raise FlipkdError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, ending: str, schema: pa.Schema) -> Iterator[TableFile]:
    if ending == ".csv":
        with CSVWriter(path, schema) as file:
            yield file
    elif ending in {".jsonl", ".ndjson"}:
        with path.open("wb") as lines:
            yield _Lines(lines)
    else:
        with writer(path, schema) as file:
            yield file


class _Lines:
    """JSON objects, one in each line."""

    def __init__(self, file: BinaryIO):
        self.file = file

    def write_table(self, table: pa.Table) -> None:
        frame = pl.from_arrow(table)
        if isinstance(frame, pl.DataFrame):
            frame.write_ndjson(self.file)


def check_place(out: Path, *read: Path) -> None:
    """Check that a file may be written there, before any work starts.

    Args:
        read: files that are read for it, and stay.

    Raises:
        FlipkdError: it is a folder, there is no folder for it, or it is one of the files that are read.
    """
    if any(out.exists() and path.exists() and out.samefile(path) for path in read):
        raise FlipkdError(f"{out}: is the input, which is not written over; choose another name")
    if out.is_dir() or not out.parent.is_dir():
        why = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise FlipkdError(f"{out}: cannot be written: {why}")


def texts_of(table: pa.Table, column: str) -> list[str]:
    """A column's texts as they are scored: without white space at their ends."""
    return [clean(text) for text in table[column].to_pylist()]


def inspect(path: Path, columns: Sequence[str], added: Collection[str]) -> tuple[pa.Schema, int]:
    """Columns and number of rows of a file, after a look at every row: nobody waits hours for an error.

    Args:
        columns: that hold a text in every row.
        added: columns that are to be put beside the file's own.

    Raises:
        FlipkdError: the file, a column or a row cannot be used, or a column that is to be added is there already.
    """
    check_columns(path, "auto", None, columns)
    if taken := sorted(set(added) & set(header(path))):
        raise FlipkdError(f"{path.name}: already has {', '.join(taken)}, which predict adds; rename the column")
    if file_format(path) == "parquet":
        schema = pq.read_schema(path)
        for number, row in enumerate(_rows(path, columns), start=1):
            _check_texts(path, number, row, columns)
        return schema.remove_metadata(), pq.read_metadata(path).num_rows
    kinds: dict[str, set[type]] = {name: set() for name in header(path)}
    count = 0
    for count, row in enumerate(_rows(path), start=1):
        _check_texts(path, count, row, columns)
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    return pa.schema([(name, _column_type(types)) for name, types in kinds.items()]), count


def _column_type(types: set[type]) -> pa.DataType:
    """The narrowest Arrow type for values of some JSON types; a mixture becomes text (JSON)."""
    types = types - {type(None)}
    if types == {bool}:
        return pa.bool_()
    if types == {int}:
        return pa.int64()
    if types and types <= {int, float}:
        return pa.float64()
    return pa.string()


def _check_texts(path: Path, number: int, row: dict[str, Any], columns: Sequence[str]) -> None:
    for name in columns:
        if not isinstance(row.get(name), str) or not clean(row[name]):
            raise FlipkdError(f"{path.name}: row {number} has no text in {name!r}; fill it or leave the row out")


def _rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    for row in read_rows(path, columns=columns):
        if isinstance(row, Reject):
            raise FlipkdError(f"{path.name}: row {row.number} cannot be read ({row.reason}): {row.raw[:200]}")
        yield row.values


def tables(path: Path, schema: pa.Schema, rows_at_once: int) -> Iterator[pa.Table]:
    """A file's rows in chunks, under the schema of `inspect`."""
    if file_format(path) == "parquet":
        for batch in pq.ParquetFile(path).iter_batches(rows_at_once):
            yield pa.Table.from_batches([batch]).cast(schema)
        return
    rows = _rows(path)
    while chunk := list(itertools.islice(rows, rows_at_once)):
        columns = [
            pa.array([_plain(row.get(field.name), field.type) for row in chunk], field.type) for field in schema
        ]
        yield pa.table(columns, schema=schema)


def _plain(value: Any, kind: pa.DataType) -> Any:
    if value is None or not pa.types.is_string(kind) or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
