"""Rows of Parquet and Arrow files, whatever their types; a batch at a time, of as many rows as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.records import Row

_BATCH_ROWS = 16_384
_BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Unreadable:
    """A value that Python has no type for; it is no text, whatever its words are."""

    words: str

    def __str__(self) -> str:
        return self.words


def column_names_of(path: Path) -> list[str]:
    """The names of the columns of a Parquet file.

    Raises:
        FlipkdError: it cannot be read as Parquet.
    """
    with _told(path, "Parquet"), pq.ParquetFile(path) as file:
        return file.schema_arrow.names


def arrow_names_of(path: Path) -> list[str]:
    """The names of the columns of an Arrow file.

    Raises:
        FlipkdError: it cannot be read as Arrow.
    """
    with _told(path, "Arrow"), _arrow(path) as (schema, _):
        return schema.names


def read_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    """Stream the rows, as Python values.

    Bytes become text, and text that is not UTF-8 keeps its bytes as half characters. A value that Python has no
    type for (a time in nanoseconds, a year past 9999, a list with text that is not UTF-8) comes as `Unreadable`.

    Args:
        columns: read these columns and no others; None for all.

    Raises:
        FlipkdError: it cannot be read as Parquet, or is damaged further on.
    """
    return _rows(path, "Parquet", _parquet_batches(path, columns))


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows as they are, all columns; a batch at a time, of as many rows as fit.

    Raises:
        FlipkdError: it cannot be read as Parquet, or is damaged further on.
    """
    with _told(path, "Parquet"):
        yield from _parquet_batches(path, None)


def read_arrow(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    """Stream the rows of an Arrow file (Feather's second version) or stream, as datasets writes it.

    Values, arguments and errors are those of `read_parquet`.
    """
    return _rows(path, "Arrow", _arrow_batches(path, columns))


def _rows(path: Path, kind: str, batches: Iterator[pa.RecordBatch]) -> Iterator[Row]:
    number = 0
    with _told(path, kind, lambda: f" after row {number}" if number else ""):
        for batch in batches:
            lists = {
                name: values_of(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            for values in zip(*lists.values(), strict=True):
                number += 1
                yield Row(number, dict(zip(lists, values, strict=True)))


def _parquet_batches(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    wanted = list(columns) if columns else None
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = _rows_that_fit(file.metadata.row_group(group), columns)
            yield from file.iter_batches(rows, row_groups=[group], columns=wanted)


def _arrow_batches(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    with _arrow(path) as (schema, batches):
        wanted = [name for name in schema.names if columns is None or name in columns]
        for whole in batches:
            chosen = whole.select(wanted)
            yield from (chosen.slice(start, _BATCH_ROWS) for start in range(0, whole.num_rows, _BATCH_ROWS))


@contextmanager
def _arrow(path: Path) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
        except pa.ArrowInvalid:  # it has no footer: a stream
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            yield stream.schema, iter(stream)
        else:
            yield file.schema, (file.get_batch(n) for n in range(file.num_record_batches))


@contextmanager
def _told(path: Path, kind: str, where: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Errors of reading inside it become one message.

    Args:
        where: says how far it was read.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FlipkdError(
            f"{path.name}: cannot be read as {kind}{where()}: {reason}. Write or copy the file again"
        ) from None


def _rows_that_fit(group: pq.RowGroupMetaData, columns: Sequence[str] | None) -> int:
    """Rows of a batch, so that it takes about 64 MB even if all of a column's rows hold its longest text."""
    row_bytes = 1.0
    for number in range(group.num_columns):
        column = group.column(number)
        if columns and column.path_in_schema.partition(".")[0] not in {c.partition(".")[0] for c in columns}:
            continue
        row_bytes += column.total_uncompressed_size / max(group.num_rows, 1)
        if column.has_dictionary_page and column.dictionary_page_offset and column.total_compressed_size > 0:
            # A few long texts, each named by many rows: the file is small, its rows are not.
            share = (column.data_page_offset - column.dictionary_page_offset) / column.total_compressed_size
            row_bytes += min(max(share, 0.0), 1.0) * column.total_uncompressed_size
    return int(min(max(_BATCH_BYTES / row_bytes, 1), _BATCH_ROWS))


def values_of(column: pa.Array) -> list[Any]:
    """A column as Python values, in the way that `read_parquet` gives them."""
    try:
        values = column.to_pylist()
    except (ValueError, OverflowError, ArithmeticError, pa.ArrowException):
        # Text that is not UTF-8 (UnicodeDecodeError is a ValueError), times that Python cannot hold.
        values = [_value(scalar) for scalar in column]
    return [v.decode(errors="surrogateescape") if isinstance(v, bytes) else v for v in values]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, ArithmeticError, pa.ArrowException):
        inner = scalar.value if isinstance(scalar, pa.DictionaryScalar) else scalar
        if isinstance(inner, pa.StringScalar | pa.LargeStringScalar | pa.StringViewScalar):
            return inner.as_buffer().to_pybytes()
        return Unreadable(_in_words(inner))


def _in_words(scalar: pa.Scalar) -> str:
    try:
        return str(scalar.cast(pa.string()).as_py())
    except (ValueError, pa.ArrowException):  # inside a list or mapping
        return f"({scalar.type} that cannot be read)"
