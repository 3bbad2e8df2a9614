"""Rows of CSV and TSV files, streamed.

CSV follows RFC 4180: fields may be quoted, a quoted field may hold commas and line breaks, `""` is a quote.
TSV has no quoting at all, unless every field of its first line is quoted: a quote is a character like any other
and every line is a row. Files of texts are written that way (ATEC's is), and one stray quote would otherwise
swallow the lines up to the next one.
"""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO

from data.errors import FlipkdError
from data.lines import CutLine, lines, open_text
from data.records import Reject, Row, has_surrogates, raw_json

log = logging.getLogger("flipkd.prepare")
_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
DELIMITERS = {"csv": ",", "tsv": "\t"}
# What to do if the first line is the wrong one: without it nothing else can be read.
_REMEDIES = {
    "not_utf8": "save the file as UTF-8",
    "nul_byte": "it holds a NUL byte; save the file as UTF-8 text",
    "bad_quoting": "a quote is not closed or not doubled; mend it, or if the file has tabs set `format: tsv`",
    "too_long": "it is too long for a line of columns; is this another kind of file?",
}


def read_delimited(path: Path, format: str, column_names: Sequence[str] | None) -> Iterator[Row | Reject]:
    """Stream the rows of a CSV or TSV file.

    Blank lines are skipped and not counted. A row that cannot be read is a reject and the rest goes on:
    `not_utf8`, `nul_byte`, `ragged_row` (more or fewer fields than columns), `bad_quoting` (a quote that is not
    closed, or text behind a closing quote: the line alone is rejected, reading resumes on the next one),
    `too_long` (a field beyond 131,072 characters, or a line beyond 16 million).

    Args:
        format: `csv` or `tsv`.
        column_names: the columns in order if the file has no header line.
    """
    empty = 0
    with open_text(path, "") as file:
        records = _records(*_delimited(file, format))
        names = list(column_names) if column_names else _header(path, records)
        number = 0
        for fields in records:
            if isinstance(fields, Reject):
                number += 1
                yield fields._replace(number=number)
                continue
            if not any(fields):  # tables of Excel end in rows of commas alone: no rows, and counted apart
                empty += 1
                continue
            number += 1
            joined = "".join(fields)
            if has_surrogates(joined):
                yield Reject(number, "not_utf8", _raw(names, fields))
            elif "\0" in joined:
                yield Reject(number, "nul_byte", _raw(names, fields))
            elif len(fields) != len(names):
                yield Reject(number, "ragged_row", _raw(names, fields))
            else:
                yield Row(number, dict(zip(names, fields, strict=True)))
    if empty:
        log.warning("%s: %d rows of delimiters alone are left out", path.name, empty)


def first_record(path: Path, format: str) -> list[str] | Reject | None:
    """The fields of the first row: the header, unless the file has none. None if there is no row at all."""
    with open_text(path, "") as file:
        return next(_records(*_delimited(file, format)), None)


def _delimited(file: TextIO, format: str) -> tuple[Iterator[str], str, Literal[0, 3]]:
    """The lines of a file, what parts their fields, and whether quotes count (`csv.QUOTE_MINIMAL`).

    A first line `sep=;`, as Excel writes it, is obeyed and is no row. A TSV whose first line is quoted field by
    field, as Kaggle ships some, is quoted throughout.
    """
    every = lines(file)
    first = next(every, None)
    delimiter, quoting = DELIMITERS[format], csv.QUOTE_NONE if format == "tsv" else csv.QUOTE_MINIMAL
    if first is None:
        return every, delimiter, quoting
    if told := _SEPARATOR.fullmatch(first.rstrip("\r\n")):
        return every, told[1], csv.QUOTE_MINIMAL
    fields = first.rstrip("\r\n").split("\t")
    if format == "tsv" and len(fields) > 1 and all(_QUOTED.fullmatch(field) for field in fields):
        quoting = csv.QUOTE_MINIMAL
    return itertools.chain([first], every), delimiter, quoting


def _header(path: Path, records: Iterator[list[str] | Reject]) -> list[str]:
    fields = next(records, None)
    if fields is None:
        raise FlipkdError(f"{path.name}: the file is empty")
    return readable(path, fields)


def readable(path: Path, fields: list[str] | Reject) -> list[str]:
    """The fields of a header.

    Raises:
        FlipkdError: it cannot be read as text.
    """
    if isinstance(fields, Reject):
        raise _unreadable(path, fields.reason)
    joined = "".join(fields)
    if has_surrogates(joined):
        raise _unreadable(path, "not_utf8")
    if "\0" in joined:
        raise _unreadable(path, "nul_byte")
    return fields


def _unreadable(path: Path, reason: str) -> FlipkdError:
    return FlipkdError(f"{path.name}: its first line cannot be read ({reason}): {_REMEDIES[reason]}")


def _records(lines: Iterator[str], delimiter: str, quoting: Literal[0, 3]) -> Iterator[list[str] | Reject]:
    """The records of a file; one that breaks the quoting rules costs its first line, not what it swallowed."""
    pending: deque[str] = deque()
    taken: list[str] = []

    def feed() -> Iterator[str]:
        while True:
            line = pending.popleft() if pending else next(lines, None)
            if line is None:
                return
            taken.append(line)
            if isinstance(line, CutLine):
                raise csv.Error("line beyond the field limit")
            yield line

    reader = csv.reader(feed(), delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        taken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first, *rest = taken
            pending.extendleft(reversed(rest))
            reader = csv.reader(feed(), delimiter=delimiter, quoting=quoting, strict=True)
            # The csv module's field limit (131,072 characters): one long line, or a quote never closed.
            reason = "too_long" if "field limit" in str(error) and not rest else "bad_quoting"
            yield Reject(0, reason, raw_json(first))
            continue
        if fields:
            yield fields


def _raw(names: Sequence[str], fields: Sequence[str]) -> str:
    return raw_json(dict(zip(names, fields, strict=True)) if len(names) == len(fields) else list(fields))
