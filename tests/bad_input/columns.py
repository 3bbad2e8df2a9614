"""Columns that are missing, twice, misnamed or many; delimiters that are others; rows that are ragged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.corpus import FORMATS, Case, encoded, pairs, pairs_of, put, utterances, utterances_of, write

NAMES = ["text_a", "text_b", "label", "group"]


def cases() -> Iterator[Case]:
    for format in FORMATS:
        file = f"rows.{format}"
        for name in NAMES[:3]:
            left = [n for n in NAMES if n != name]
            says = (
                "prepare.inputs.0",
                file,
                f"no column '{name}'",
                "'group'",
                *(("label: null",) if name == "label" else ()),
            )
            yield Case(f"columns, {format}", f"no {name}", _without(format, name), "error", says)
            del left
        says = ("prepare.inputs.0", file, "no column 'question'", "'text_a'")
        yield Case(f"columns, {format}", "no group", _pairs(format, group="question"), "error", says)
        yield Case(
            f"columns, {format}", "no split", _pairs(format, split_column="fold"), "error", (file, "'fold'")
        )
        says = (file, "no column 'text'", "'text_a'")
        yield Case(f"columns, {format}", "pairs as utterances", _as_utterances(format), "error", says)
        says = (file, "no column 'text_a'", "'id'")
        yield Case(f"columns, {format}", "utterances as pairs", _as_pairs(format), "error", says)
        yield Case(f"columns, {format}", "other case", _renamed(format, str.upper), "error", (file, "'TEXT_A'"))
        yield Case(
            f"columns, {format}",
            "white space around",
            _renamed(format, " {} ".format),
            "error",
            (file, "' text_a '"),
        )
        yield Case(f"columns, {format}", "ten thousand", _many(format, True), "accepted", rows=40)
        says = (file, "no column 'text_a'", "and 9980 more")
        yield Case(f"columns, {format}", "ten thousand others", _many(format, False), "error", says)
        yield Case(
            f"columns, {format}",
            "text_a for both",
            _pairs(format, text_b="text_a"),
            "error",
            ("same_text", f"{file} row 1"),
        )
        says = (f"{file} row 1", "bad_split", "train, dev, test")
        yield Case(
            f"columns, {format}", "splits of other names", _pairs(format, split_column="group"), "error", says
        )
    yield from _twice()
    yield from _delimiters()
    yield from _ragged()


def _pairs(format: str, **settings: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: pairs_of(write(folder / f"rows.{format}", pairs()), **settings)


def _without(format: str, name: str) -> Callable[[Path], dict[str, Any]]:
    rows = [{n: value for n, value in row.items() if n != name} for row in pairs()]
    return lambda folder: pairs_of(write(folder / f"rows.{format}", rows))


def _as_utterances(format: str) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: utterances_of(write(folder / f"rows.{format}", pairs()))


def _as_pairs(format: str) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: pairs_of(write(folder / f"rows.{format}", utterances()))


def _renamed(format: str, change: Callable[[str], str]) -> Callable[[Path], dict[str, Any]]:
    rows = [{change(name): value for name, value in row.items()} for row in pairs()]
    return lambda folder: pairs_of(write(folder / f"rows.{format}", rows))


def _many(format: str, ours: bool) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        more = {f"c{n}": "x" for n in range(9_996 if ours else 10_000)}
        rows = [more | (row if ours else {}) for row in pairs()]
        return pairs_of(write(folder / f"rows.{format}", rows))

    return make


def _twice() -> Iterator[Case]:
    for format, mark in (("csv", ","), ("tsv", "\t")):
        for name in ("text_a", "label"):
            head = mark.join([*NAMES[:3], name])
            lines = [mark.join([f"a {n}", f"b {n}", str(n % 2), "x"]) for n in range(40)]
            content = "\n".join([head, *lines]) + "\n"

            def make(folder: Path, format: str = format, content: str = content) -> dict[str, Any]:
                return pairs_of(put(folder, f"rows.{format}", content))

            says = (f"rows.{format}", f"'{name}'", "more than once")
            yield Case(f"columns, {format}", f"{name} twice", make, "error", says)

    def parquet(folder: Path) -> dict[str, Any]:
        columns = [pa.array([row[name] for row in pairs()]) for name in [*NAMES, "text_a"]]
        pq.write_table(pa.Table.from_arrays(columns, [*NAMES, "text_a"]), folder / "rows.parquet")
        return pairs_of(folder / "rows.parquet")

    yield Case(
        "columns, parquet", "text_a twice", parquet, "error", ("rows.parquet", "'text_a'", "more than once")
    )

    def other(folder: Path) -> dict[str, Any]:
        columns = [pa.array([row[name] for row in pairs()]) for name in [*NAMES, "more", "more"][:4]]
        columns += [pa.array(["x"] * 40)] * 2
        pq.write_table(pa.Table.from_arrays(columns, [*NAMES, "more", "more"]), folder / "rows.parquet")
        return pairs_of(folder / "rows.parquet")

    yield Case("columns, parquet", "another one twice", other, "accepted", rows=40)


def _delimiters() -> Iterator[Case]:
    for name, mark, hint in (
        ("semicolons", ";", "semicolons"),
        ("tabs", "\t", "format: tsv"),
        ("bars", "|", "columns are"),
    ):

        def make(folder: Path, mark: str = mark) -> dict[str, Any]:
            text = encoded(pairs(), "csv", folder).decode().replace(",", mark)
            return pairs_of(put(folder, "rows.csv", text))

        yield Case("delimiters, csv", name, make, "error", ("rows.csv", "no column 'text_a'", hint))

    def commas(folder: Path, **more: Any) -> dict[str, Any]:
        return pairs_of(put(folder, "rows.tsv", encoded(pairs(), "csv", folder)), **more)

    yield Case("delimiters, tsv", "commas", commas, "error", ("rows.tsv", "no column 'text_a'", "text_a,text_b"))
    names = {"column_names": NAMES}
    yield Case("delimiters, tsv", "commas, columns named", lambda f: commas(f, **names), "error",
               ("rows.tsv", "lists 4 columns", "first row has 1"))  # fmt: skip

    def named(folder: Path, **more: Any) -> dict[str, Any]:
        return pairs_of(put(folder, "rows.csv", encoded(pairs(), "csv", folder)), **more)

    yield Case(
        "delimiters, csv",
        "header, columns named",
        lambda f: named(f, **names),
        "error",
        ("rows.csv", "is a header"),
    )
    yield Case("delimiters, csv", "too few columns named", lambda f: named(f, column_names=NAMES[:3]), "error",
               ("rows.csv", "lists 3 columns", "first row has 4"))  # fmt: skip
    others = ["a", "text_a", "text_b", "label"]
    yield Case("delimiters, csv", "columns in another order", lambda f: named(f, column_names=others), "error",
               ("41 of 41 rows", "bad_label", "rows.csv row 1"))  # fmt: skip

    def headless(folder: Path) -> dict[str, Any]:
        lines = encoded(pairs(), "csv", folder).split(b"\r\n", 1)[1]
        return pairs_of(put(folder, "rows.csv", lines))

    yield Case(
        "delimiters, csv", "no header", headless, "error", ("rows.csv", "no column 'text_a'", "`column_names`")
    )
    for format in ("jsonl", "parquet"):

        def names_for(folder: Path, format: str = format) -> dict[str, Any]:
            return pairs_of(write(folder / f"rows.{format}", pairs()), column_names=NAMES)

        yield Case(
            f"delimiters, {format}",
            "columns named",
            names_for,
            "error",
            (f"rows.{format}", "`column_names` is for"),
        )


def _ragged() -> Iterator[Case]:
    for format, mark in (("csv", ","), ("tsv", "\t")):
        for name, fields in (("too few", ["a", "b"]), ("too many", ["a", "b", "1", "g", "more"]), ("one", ["a"])):

            def make(
                folder: Path, format: str = format, mark: str = mark, fields: list[str] = fields
            ) -> dict[str, Any]:
                whole = encoded(pairs(), format, folder) + (mark.join(fields) + "\n").encode()
                return pairs_of(put(folder, f"rows.{format}", whole))

            yield Case(f"ragged, {format}", name, make, "accepted", rejected={"ragged_row": 1}, rows=41)

        def every(folder: Path, format: str = format, mark: str = mark) -> dict[str, Any]:
            lines = encoded(pairs(), format, folder).decode().splitlines()
            lines[0] += f"{mark}more"
            return pairs_of(put(folder, f"rows.{format}", "\n".join(lines) + "\n"))

        says = ("40 of 40 rows", "ragged_row", f"rows.{format} row 1")
        yield Case(f"ragged, {format}", "every row", every, "error", says)
