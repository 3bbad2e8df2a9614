"""TREC's files of judgements: `query iteration document grade` a line, parted by white space; no header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.lines import CutLine, lines, open_text
from data.records import Reject, Row, has_surrogates, raw_json

COLUMNS = ("query-id", "iteration", "corpus-id", "score")


def read_trec(path: Path) -> Iterator[Row | Reject]:
    """Stream the judgements as rows with `COLUMNS`; all values are texts."""
    number = 0
    with open_text(path, None) as file:
        for line in lines(file):
            fields = line.split()
            if not fields:
                continue
            number += 1
            if isinstance(line, CutLine):
                yield Reject(number, "too_long", raw_json(line))
            elif has_surrogates(line):
                yield Reject(number, "not_utf8", raw_json(line.strip()))
            elif len(fields) != len(COLUMNS):
                yield Reject(number, "ragged_row", raw_json(line.strip()))
            else:
                yield Row(number, dict(zip(COLUMNS, fields, strict=True)))


def is_trec(path: Path) -> bool:
    """Whether a file's first line is a judgement as TREC writes it: four fields, the last of them a number."""
    with open_text(path, None) as file:
        fields = next((line.split() for line in lines(file) if line.strip()), [])
    return len(fields) == len(COLUMNS) and fields[-1].lstrip("+-").isdigit()
