"""Files cut at random bytes, with random bytes in them, with other line ends, with broken quotes."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import (
    FORMATS,
    TEXT_FORMATS,
    Case,
    encoded,
    pairs,
    pairs_of,
    put,
    utterances,
    utterances_of,
)

CUTS = 8
HEAD = "text_a,text_b,label,group\n"


def cases() -> Iterator[Case]:
    for format in FORMATS:
        for content in ("pairs", "utterances"):
            ends, says = ("error", ("rows.parquet", "Parquet")) if format == "parquet" else ("either", ())
            for number in range(CUTS):
                make = functools.partial(_cut, format, content, number)
                yield Case(f"truncated, {format}", f"{content} {number}", make, ends, says)  # pyright: ignore[reportArgumentType]
        for number in range(4):
            yield Case(f"random bytes, {format}", str(number), functools.partial(_noise, format, number), "either")
    yield from _line_ends()
    yield from _quotes()


def _settings(path: Path, content: str) -> dict[str, Any]:
    return pairs_of(path) if content == "pairs" else utterances_of(path)


def _cut(format: str, content: str, number: int, folder: Path) -> dict[str, Any]:
    rows = pairs(60) if content == "pairs" else utterances(20, 4)
    whole = encoded(rows, format, folder)
    draw = random.Random(f"{format} {content} {number}")
    at = draw.randrange(1, len(whole)) if number else draw.randrange(1, 20)
    return _settings(put(folder, f"rows.{format}", whole[:at]), content)


def _noise(format: str, number: int, folder: Path) -> dict[str, Any]:
    whole = bytearray(encoded(pairs(60), format, folder))
    draw = random.Random(f"{format} {number}")
    for _ in range((1, 3, 10, 200)[number]):
        whole[draw.randrange(len(whole))] = draw.randrange(256)
    return pairs_of(put(folder, f"rows.{format}", bytes(whole)))


def _line_ends() -> Iterator[Case]:
    changes = {
        "carriage return": lambda text: text.replace("\n", "\r"),
        "both": lambda text: text.replace("\n", "\r\n"),
        "mixed": lambda text: text.replace("1\n", "1\r").replace("7\n", "7\r\n"),
        "none at the end": lambda text: text.rstrip("\n"),
        "blank lines": lambda text: text.replace("\n", "\n\n\n") + "\n\n",
    }
    for format in TEXT_FORMATS:
        for name, change in changes.items():

            def make(folder: Path, format: str = format, change: Any = change) -> dict[str, Any]:
                text = encoded(pairs(), format, folder).decode().replace("\r\n", "\n")
                return pairs_of(put(folder, f"rows.{format}", change(text)))

            yield Case(f"line ends, {format}", name, make, "accepted", rows=40)


def _quotes() -> Iterator[Case]:
    good = [f"first {n},second {n},{n % 2},g{n // 2}" for n in range(60)]

    def csv_of(lines: list[str], head: str = HEAD) -> Any:
        return lambda folder: pairs_of(put(folder, "rows.csv", head + "\n".join(lines) + "\n"))

    def case(name: str, lines: list[str], rejected: dict[str, int], rows: int) -> Case:
        return Case("quotes, csv", name, csv_of(lines), "accepted", rejected=rejected, rows=rows)

    yield case("one never closed, in the first row", ['"first 99,second,1,g', *good], {"bad_quoting": 1}, 61)
    yield case("one never closed, in the last row", [*good, '"first 99,second,1,g'], {"bad_quoting": 1}, 61)
    yield case("text behind a closing quote", [*good, '"first" 99,second,1,g'], {"bad_quoting": 1}, 61)
    yield case("not doubled inside", [*good, '"the "first" text",second 99,1,g'], {"bad_quoting": 1}, 61)
    yield case("escaped by a backslash", [*good, '"the \\"first\\" text",second 99,1,g'], {"bad_quoting": 1}, 61)
    yield case("doubled inside", [*good, '"the ""first"" text",second 99,1,g'], {}, 61)
    yield case("in the middle of a plain field", [*good, 'the 5" screen,second 99,1,g'], {}, 61)
    yield case("single ones", [*good, "'first, text',second 99,1"], {"bad_label": 1}, 61)
    yield case("over several lines", [*good, '"first\nof\r\nthree","second 99",1,g'], {}, 61)
    every = [f'"first {n},second {n},{n % 2},g{n // 2}' for n in range(40)]
    says = ("rows.csv row 1", "bad_quoting", "40 of 40 rows")
    yield Case("quotes, csv", "one never closed in every row", csv_of(every), "error", says)
    says = ("rows.csv", "first line", "bad_quoting", "quote")
    yield Case("quotes, csv", "in the header", csv_of(good, '"text_a,text_b,label\n'), "error", says)
    lines = [line.replace(",", "\t").replace("first", '"first') for line in good]
    tabs = "text_a\ttext_b\tlabel\tgroup\n" + "\n".join(lines) + "\n"

    def make(folder: Path) -> dict[str, Any]:
        return pairs_of(put(folder, "rows.tsv", tabs))

    yield Case("quotes, tsv", "a quote is a character", make, "accepted", rows=60)
