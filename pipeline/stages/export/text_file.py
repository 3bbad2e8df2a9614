"""A user's file with texts in some columns: looked through once, then read in chunks with every column it has."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import CSVWriter

from data.errors import FlipkdError
from data.locate import user_path
from data.parquet import read_batches, values_of
from data.readers import check_columns, file_format, header, listed, read_rows
from data.records import Reject, escaped, has_surrogates, raw_json
from data.schema import writer
from data.texts import clean

PROBLEM = "problem"  # the column that tells why a row was not used


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
    except (pa.ArrowException, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FlipkdError(f"{out}: cannot be written: {reason}. Try another ending, .parquet for one") from None
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
    for path in (out, *read):
        user_path(str(path))
    if any(out.exists() and path.exists() and out.samefile(path) for path in read):
        raise FlipkdError(f"{out}: is the input, which is not written over; choose another name")
    if out.is_dir() or not out.parent.is_dir():
        why = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise FlipkdError(f"{out}: cannot be written: {why}")


def check_named(path: Path, columns: Mapping[str, str]) -> None:
    """Check that a file has the columns that options of a command name, before any work starts.

    Args:
        columns: option to column.

    Raises:
        FlipkdError: one is not there; says which option names another one.
    """
    names = header(path) if path.is_file() else []  # what is no file is told by who reads it
    for option, column in columns.items():
        if names and column not in names:
            there = f"no column {column!r}; the columns are {listed(names)}"
            raise FlipkdError(f"{path.name}: {there}. Name the right one: {option} COLUMN")


def inspect(
    path: Path, columns: Sequence[str], added: Collection[str], *, strict: bool = True
) -> tuple[pa.Schema, int]:
    """Columns and number of rows of a file, after a look at every row: nobody waits hours for an error.

    Args:
        columns: that hold a text in every row.
        added: columns that are to be put beside the file's own.
        strict: False lets rows be that cannot be used, as long as one can; the column `PROBLEM` then comes last.

    Raises:
        FlipkdError: the file, a column or a row cannot be used, or a column that is to be added is there already.
    """
    if user_path(str(path)).exists() and not path.is_file():
        what = (
            "is a folder"
            if path.is_dir()
            else "is a pipe or device; write its content to a file, it is read twice"
        )
        raise FlipkdError(f"{path} {what}")
    check_columns(path, "auto", None, columns)
    names = header(path)
    if taken := sorted(set(added) & set(names)):
        raise FlipkdError(f"{path.name}: already has {', '.join(taken)}, which predict adds; rename the column")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FlipkdError(f"{path.name}: two columns are called {listed(twice)}; rename one of them")
    is_parquet = file_format(path) == "parquet"
    kinds: dict[str, set[type]] = {escaped(name): set() for name in names}
    problems: list[str] = []
    count = 0
    for count, (row, problem) in enumerate(_rows(path, columns, whole=not is_parquet), start=1):
        if problem:
            problems.append(f"{path.name}: row {count} {problem}")
            if strict:
                raise FlipkdError(problems[0])
        for name, value in row.items():
            too_large = isinstance(value, int) and not -(2**63) <= value < 2**63
            kinds.setdefault(escaped(name), set()).add(str if too_large else type(value))
    if count and len(problems) == count:
        raise FlipkdError(f"{problems[0]}; no row can be used")
    if problems and PROBLEM in names:
        raise FlipkdError(f"{problems[0]}. It would be told in a column {PROBLEM!r}, which is there: rename that")
    if is_parquet:
        schema = pa.schema([field.with_type(_plain_type(field.type)) for field in pq.read_schema(path)])
    else:
        schema = pa.schema([(name, _column_type(types)) for name, types in kinds.items()])
    return (schema.append(pa.field(PROBLEM, pa.string())) if problems else schema), count


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Arrow cannot pick rows out of views; a column of them becomes a plain one."""
    views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    return views.get(kind, kind)


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


def _rows(
    path: Path, columns: Sequence[str], *, whole: bool = True
) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The values of each row, and why it cannot be used.

    Args:
        columns: that hold a text in every row. whole: all columns, not these alone.
    """
    try:
        for row in read_rows(path, columns=None if whole else columns):
            if isinstance(row, Reject):
                yield {}, f"cannot be read ({row.reason}): {row.raw[:200]}"
            else:
                yield row.values, _problem(row.values, columns)
    except OSError as error:
        raise FlipkdError(f"{path}: cannot be read: {error.strerror or error}") from None


def _problem(values: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    for name in columns:
        value = values.get(name)
        if not isinstance(value, str) or not clean(value):
            return f"has no text in {name!r}; fill it or leave the row out"
        if has_surrogates(value):
            return f"has a text in {name!r} that is not UTF-8"
    return None


Texts = tuple[str, ...]


def chunks(
    path: Path, schema: pa.Schema, rows_at_once: int, columns: Sequence[str]
) -> Iterator[tuple[pa.Table, list[Texts | None]]]:
    """A file's rows in chunks.

    Args:
        schema: of `inspect`. columns: those with texts, as given there.

    Yields:
        A chunk under the schema; and of each row the texts, as they are scored, without white space at their ends;
        None for a row that cannot be used.
    """
    told = PROBLEM in schema.names
    if file_format(path) != "parquet":
        rows = _rows(path, columns)
        while chunk := list(itertools.islice(rows, rows_at_once)):
            values = [_named(row) | ({PROBLEM: problem} if told else {}) for row, problem in chunk]
            found = [
                pa.array([_plain(row.get(field.name), field.type) for row in values], field.type)
                for field in schema
            ]
            texts = [None if problem else _texts(row, columns) for row, problem in chunk]
            yield pa.table(found, schema=schema), texts
        return
    own = pa.schema([field for field in schema if not told or field.name != PROBLEM])
    for batch in read_batches(path):
        for start in range(0, batch.num_rows, rows_at_once):
            part = batch.slice(start, rows_at_once)
            by_column = zip(*(values_of(part[name]) for name in columns), strict=True)
            found = [dict(zip(columns, values, strict=True)) for values in by_column]
            problems = [_problem(row, columns) for row in found]
            table = pa.Table.from_batches([part]).cast(own)
            if told:
                table = table.append_column(PROBLEM, pa.array(problems, pa.string()))
            yield table, [None if p else _texts(row, columns) for row, p in zip(found, problems, strict=True)]


def _texts(row: Mapping[str, Any], columns: Sequence[str]) -> Texts:
    return tuple(clean(row[name]) for name in columns)


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose columns have names that can be written."""
    return {escaped(name): value for name, value in row.items()}


def _plain(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if value is None or not pa.types.is_string(kind):
        return value
    return raw_json(value)
