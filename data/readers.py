"""Raw files as streams of rows, whatever their format; what cannot be read is yielded as a reject.

CSV, TSV and JSONL are never held in memory, Parquet one batch at a time. See `data.delimited` for the quoting
rules. White space and byte-order marks inside a field are left to `data.texts.clean`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data.compressed import DAMAGED, inner_suffix, is_packed, open_bytes
from data.delimited import DELIMITERS, first_record, read_delimited, readable
from data.errors import FlipkdError
from data.lines import lines, open_text, rows_by_line
from data.parquet import arrow_names_of, column_names_of, read_arrow, read_parquet
from data.records import Reject, Row, has_surrogates, raw_json
from data.texts import BYTE_ORDER_MARK
from data.trec import COLUMNS as TREC_COLUMNS
from data.trec import read_trec

ENDINGS = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet", ".pq": "parquet", ".json": "json", ".arrow": "arrow", ".feather": "arrow",
    ".ipc": "arrow",
}  # fmt: skip
BINARY = ("parquet", "arrow")
LINE = "text"  # the column of a file of lines
_SNIFFED_BYTES = 65_536
_MAGIC = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"PK\x05\x06": "an empty zip archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\x1f\x8b": "gzip-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"BZh": "bzip2-compressed",
    b"\xfd7zXZ\0": "xz-compressed",
    b"7z\xbc\xaf": "a 7z archive",
    b"SQLite format 3\0": "an SQLite database",
    b"%PDF-": "a PDF",
    b"PAR1": "a Parquet file",
}
_JSONL_ROWS_FOR_COLUMNS = 1000
_SHOWN_COLUMNS = 20
_SHOWN_CHARACTERS = 120


def file_format(path: Path, format: str = "auto") -> str:
    """The format of a file; `auto` goes by its ending, `.gz` and `.zip` taken off.

    Raises:
        FlipkdError: the ending says nothing.
    """
    if format != "auto":
        return format
    found = ENDINGS.get(inner_suffix(path))
    if found in BINARY and is_packed(path):
        raise FlipkdError(f"{path.name}: {found} files are compressed inside; unpack it")
    if not found:
        raise FlipkdError(
            f"{path.name}: the ending does not tell the format; set `format` to csv, tsv, json, jsonl, parquet or "
            "arrow"
        )
    return found


def read_rows(
    path: Path,
    format: str = "auto",
    column_names: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[Row | Reject]:
    """Stream the rows of a file.

    Args:
        format: `auto`, `csv`, `tsv`, `jsonl`, `parquet`, `trec` (see `data.trec`), `lines` (a text each).
        column_names: the columns in order, for a CSV or TSV without a header line.
        columns: Parquet and Arrow alone: read these columns and no others.

    Raises:
        FlipkdError: the file as a whole cannot be read: empty, UTF-16, compressed, binary, not Parquet.
    """
    kind = file_format(path, format)
    _check_bytes(path, kind)
    if kind in BINARY:
        return read_parquet(path, columns) if kind == "parquet" else read_arrow(path, columns)
    if kind == "json":
        return _guarded(path, _read_json(path))
    if kind == "lines":
        return _guarded(path, rows_by_line(path, lambda number, text: Row(number, {LINE: text})))
    if kind in DELIMITERS:
        return _guarded(path, read_delimited(path, kind, column_names))
    return _guarded(path, rows_by_line(path, _json_row) if kind == "jsonl" else read_trec(path))


def header(path: Path, format: str = "auto", column_names: Sequence[str] | None = None) -> list[str]:
    """The names of a file's columns, without reading the file (JSONL: the keys of the first 1,000 rows).

    Raises:
        FlipkdError: the file cannot be read, or `column_names` does not fit it.
    """
    kind = file_format(path, format)
    _check_bytes(path, kind)
    if kind in DELIMITERS:
        first = first_record(path, kind)
        if first is None:
            raise FlipkdError(f"{path.name}: the file holds no row")
        if not column_names:
            return readable(path, first)
        if not isinstance(first, Reject):  # else it is a row like any other that cannot be read
            _check_column_names(path, first, column_names)
        return list(column_names)
    if column_names:
        raise FlipkdError(f"{path.name}: `column_names` is for CSV and TSV; a {kind} file names its own columns")
    if kind in BINARY:
        return column_names_of(path) if kind == "parquet" else arrow_names_of(path)
    if kind == "trec":
        return list(TREC_COLUMNS)
    if kind == "lines":
        return [LINE]
    names: dict[str, None] = {}
    unread: Reject | None = None
    rows = _read_json(path) if kind == "json" else rows_by_line(path, _json_row)
    for row in itertools.islice(_guarded(path, rows), _JSONL_ROWS_FOR_COLUMNS):
        if isinstance(row, Row):
            names |= dict.fromkeys(row.values)
        else:
            unread = unread or row
    if not names and unread:
        raise FlipkdError(
            f"{path.name}: none of its first rows can be read; row {unread.number} is {unread.reason}: "
            f"{unread.raw[:_SHOWN_CHARACTERS]}. Write one JSON object a line, in UTF-8"
        )
    return list(names)


def _guarded(path: Path, rows: Iterator[Row | Reject]) -> Iterator[Row | Reject]:
    """The rows; a disk or network folder that fails on the way is told like any other wrong input."""
    number = 0
    try:
        for row in rows:
            number = row.number
            yield row
    except (OSError, *DAMAGED) as error:
        reason = getattr(error, "strerror", None) or error
        raise FlipkdError(f"{path}: reading failed after row {number}: {reason}") from None


def check_columns(path: Path, format: str, column_names: Sequence[str] | None, wanted: Sequence[str]) -> None:
    """Check that a file has the wanted columns, before any work starts.

    Raises:
        FlipkdError: one is missing or stands twice, or the file cannot be read; says what is there.
    """
    found = header(path, format, column_names)
    shown = listed(found)
    for name in wanted:
        if found.count(name) == 1:
            continue
        if name in found:
            raise FlipkdError(f"{path.name}: the column {name!r} stands more than once; the columns are {shown}")
        raise FlipkdError(
            f"{path.name}: no column {name!r}; the columns are {shown}{_guess(path, format, found, column_names)}"
        )


def listed(columns: Sequence[str]) -> str:
    """Names of columns for a message, cut to a readable length."""
    names = ", ".join(repr(name if len(name) <= 40 else name[:40] + "…") for name in columns[:_SHOWN_COLUMNS])
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    return (names or "none") + more


def _guess(path: Path, format: str, found: list[str], column_names: Sequence[str] | None) -> str:
    kind = file_format(path, format)
    if kind not in DELIMITERS or column_names:
        return ""
    if len(found) == 1 and "\t" in found[0]:
        return ". It looks separated by tabs: set `format: tsv`"
    if len(found) == 1 and ";" in found[0]:
        return ". It looks separated by semicolons: save it with commas, or with tabs as TSV"
    return ". If that is a row of data, the file has no header: list its columns in `column_names`"


def _check_column_names(path: Path, first: list[str], column_names: Sequence[str]) -> None:
    if list(column_names) == first:
        raise FlipkdError(f"{path.name}: its first line is a header, so drop `column_names`")
    if len(column_names) != len(first):
        raise FlipkdError(
            f"{path.name}: `column_names` lists {len(column_names)} columns, the first row has {len(first)}"
            f"{_guess(path, 'csv', first, None) if len(first) == 1 else ''}"
        )


def _check_bytes(path: Path, kind: str) -> None:
    try:
        with open_bytes(path) as file:
            start = file.read(_SNIFFED_BYTES)
    except (OSError, *DAMAGED) as error:
        raise FlipkdError(f"{path}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if not start.removeprefix(b"\xef\xbb\xbf").strip():
        raise FlipkdError(f"{path.name}: the file is empty")
    if kind in BINARY:
        return
    what = next((what for magic, what in _MAGIC.items() if start.startswith(magic)), None)
    lines = [line for line in start.split(b"\n") if line]
    if what is None and sum(b"\0" in line for line in lines) > len(lines) / 2:
        what = "full of NUL bytes: binary, or UTF-16 text"
    if what:
        raise FlipkdError(f"{path.name}: the file is {what}, not {kind.upper()}; save it as UTF-8 {kind.upper()}")


def _read_json(path: Path) -> Iterator[Row | Reject]:
    """A JSON array of objects, or, under this ending too, one object a line."""
    with open_text(path, None) as file:
        start = next((text for line in lines(file) if (text := line.strip().lstrip(BYTE_ORDER_MARK))), "")
    if not start.startswith("["):
        yield from rows_by_line(path, _json_row)
        return
    with open_text(path, None) as file:
        try:
            items = json.loads(file.read().lstrip(BYTE_ORDER_MARK), object_pairs_hook=_json_object)
        except (ValueError, RecursionError) as error:
            raise FlipkdError(f"{path.name}: not a JSON array: {error}") from None
    for number, item in enumerate(items, start=1):
        row = _checked_object(number, item, lambda item=item: raw_json(item))
        yield Row(number, dict(_flat(row.values))) if isinstance(row, Row) else row


class _Repeated(dict[str, Any]):
    """An object in which a key stands twice: which value is meant, nobody knows."""


def _json_object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(items)
    return values if len(values) == len(items) else _Repeated(values)


def _json_row(number: int, text: str) -> Row | Reject:
    if has_surrogates(text):
        return Reject(number, "not_utf8", raw_json(text))
    try:
        values = json.loads(text, object_pairs_hook=_json_object)
    except (ValueError, RecursionError):
        return Reject(number, "not_json", raw_json(text))
    return _checked_object(number, values, lambda: raw_json(text))


def _checked_object(number: int, values: Any, raw: Callable[[], str]) -> Row | Reject:
    if not isinstance(values, dict):
        return Reject(number, "not_json", raw())
    if isinstance(values, _Repeated):
        return Reject(number, "repeated_key", raw())
    return Row(number, values)


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """A mapping inside a mapping as `outer.inner`, as labelling tools write their texts; itself stays too."""
    for name, value in values.items():
        yield f"{before}{name}", value
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
