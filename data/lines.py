"""Lines of a text file of any size: none is held in memory as a whole if it is absurdly long."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from data.compressed import open_bytes
from data.records import Reject, Row, raw_json
from data.texts import BYTE_ORDER_MARK

LONGEST_LINE = 2**24
_SHOWN = 2**16


class CutLine(str):
    """The beginning of a line longer than `LONGEST_LINE` characters; the rest of it was skipped."""

    __slots__ = ()


def open_text(path: Path, newline: str | None) -> TextIO:
    """Open as UTF-8, unpacked: a byte-order mark goes, bytes that are not UTF-8 become half characters.

    Args:
        newline: as in `open`; `""` keeps the line ends, None makes all of them `\\n`.
    """
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def rows_by_line(path: Path, row_of: Callable[[int, str], Row | Reject]) -> Iterator[Row | Reject]:
    """Stream a file that has a row in each line; blank lines are skipped and not counted.

    Args:
        row_of: makes a row of its number and line, without white space and byte-order marks at the ends. Joined
            files have a mark inside.
    """
    number = 0
    with open_text(path, None) as file:
        for line in lines(file):
            text = line.strip().lstrip(BYTE_ORDER_MARK)
            if text:
                number += 1
                cut = isinstance(line, CutLine)
                yield Reject(number, "too_long", raw_json(text)) if cut else row_of(number, text)


def lines(file: TextIO) -> Iterator[str]:
    """Stream the lines with their ends; one that is too long comes as a `CutLine`."""
    start = ""  # of a line that goes on
    torn = False  # between \r and \n
    while part := file.readline(LONGEST_LINE):
        if torn and part == "\n":
            torn = False
            continue
        ends = len(part) < LONGEST_LINE or part[-1] in "\r\n"
        torn = len(part) == LONGEST_LINE and part[-1] == "\r"
        if ends:
            yield CutLine(start) if start else part
            start = ""
        else:
            start = start or part[:_SHOWN]
    if start:
        yield CutLine(start)
