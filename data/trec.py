"""TREC's files of judgements: `query iteration document grade` a line, parted by white space; no header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.lines import lines, open_text, rows_by_line
from data.records import Reject, Row, has_surrogates, raw_json

COLUMNS = ("query-id", "iteration", "corpus-id", "score")


def read_trec(path: Path) -> Iterator[Row | Reject]:
    """Stream the judgements as rows with `COLUMNS`; all values are texts."""
    return rows_by_line(path, _judgement)


def _judgement(number: int, line: str) -> Row | Reject:
    fields = line.split()
    if has_surrogates(line):
        return Reject(number, "not_utf8", raw_json(line))
    if len(fields) != len(COLUMNS):
        return Reject(number, "ragged_row", raw_json(line))
    return Row(number, dict(zip(COLUMNS, fields, strict=True)))


def field(name: str) -> str:
    """An id as it stands in TREC's files, whose fields white space parts: `_` in its place."""
    return "_".join(name.split())


def is_trec(path: Path) -> bool:
    """Whether a file's first line is a judgement as TREC writes it: four fields, the last of them a number."""
    with open_text(path, None) as file:
        fields = next((line.split() for line in lines(file) if line.strip()), [])
    return len(fields) == len(COLUMNS) and fields[-1].lstrip("+-").isdigit()
