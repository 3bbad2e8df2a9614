"""Odd texts, two rows of each among forty good ones, in every format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.corpus import FORMATS, Case, pairs, pairs_of, utterances, utterances_of, write

HALF = "half \ud800 character"  # JSON alone can hold it
BYTES = "caf\udce9"  # written as the byte E9, which is no UTF-8
# name -> the texts, and why their rows are rejected; None if they are taken.
TEXTS: dict[str, tuple[tuple[str, str], str | None]] = {
    "empty": (("", ""), "missing_text"),
    "white space": (("  \u00a0", "\u3000 \u2009"), "missing_text"),
    "zero width": (("\u200b", "\u200d\u2060\ufeff"), "missing_text"),
    "marks of direction": (("\u200f\u202e", "\u061c"), "missing_text"),
    "control characters": (("\x01", "\x7f\x1b"), "missing_text"),
    "a megabyte": (("x" * 1_000_000, "two words " * 100_000), "too_long"),
    "one character too many": (("y" * 2001, "é" * 2001), "too_long"),
    "as long as allowed": (("y" * 2000, "é" * 2000), None),
    "NUL": (("one\0two", "\0"), "nul_byte"),
    "byte-order mark inside": (("\ufeffone 1", "two\ufeff 2"), None),
    "right to left": (("\u202eone\u202c 1", "שלום 2"), None),
    "formulas": (("=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0"), None),
    "scripts": (("<script>alert(1)</script>", "{{ config }} ${HOME} %s"), None),
    "emoji": (("👩\u200d👩\u200d👧 family", "🏳️\u200d🌈"), None),
    "accents piled up": (("a" + "\u0301" * 500, "z̸̢̛͖" * 50), None),
    "unassigned characters": (("\U000e0fff x", "\ufdd0 y"), None),
    "numbers": (("12345", "1e5"), None),
    "not a number": (("nan", "NULL"), None),
}


def cases() -> Iterator[Case]:
    for format in FORMATS:
        for name, (found, reason) in TEXTS.items():
            rejected = {reason: 2} if reason else {}
            if name == "a megabyte" and format == "csv":
                name = "a megabyte in one field"  # noqa: PLW2901  # the csv module's own limit is told the same way

            def make(folder: Path, format: str = format, found: Any = found) -> dict[str, Any]:
                odd = [
                    {"text_a": text, "text_b": f"other {n}", "label": "1", "group": f"odd {n}"}
                    for n, text in enumerate(found)
                ]
                return pairs_of(write(folder / f"rows.{format}", [*pairs(), *odd]))

            yield Case(f"texts, {format}", name, make, "accepted", rejected=rejected, rows=42)

    def halves(folder: Path) -> dict[str, Any]:
        odd = [{"text_a": HALF, "text_b": "b", "label": 1}, {"text_a": "a", "text_b": "\udfff", "label": 0}]
        return pairs_of(write(folder / "rows.jsonl", [*pairs(), *odd]))

    yield Case("texts, jsonl", "half characters", halves, "accepted", rejected={"not_utf8": 2}, rows=42)

    def no_utf8(folder: Path, ending: str = "csv") -> dict[str, Any]:
        odd = [{"text_a": BYTES, "text_b": "b", "label": "1", "group": "odd"}]
        return pairs_of(write(folder / f"rows.{ending}", [*pairs(), *odd]))

    yield Case("texts, csv", "not UTF-8", no_utf8, "accepted", rejected={"not_utf8": 1}, rows=41)
    yield Case(
        "texts, tsv", "not UTF-8", lambda f: no_utf8(f, "tsv"), "accepted", rejected={"not_utf8": 1}, rows=41
    )

    def bytes_in_parquet(folder: Path, kind: pa.DataType) -> dict[str, Any]:
        values = [row["text_a"].encode() for row in pairs()] + [b"caf\xe9"]
        texts = pa.array(values, pa.binary() if kind != pa.large_string() else pa.large_binary())
        texts = texts if kind == pa.binary() else texts.view(kind)
        columns = {name: [row[name] for row in pairs()] + ["1"] for name in ("text_b", "label")}
        pq.write_table(pa.table({"text_a": texts, **columns}), folder / "rows.parquet")
        return pairs_of(folder / "rows.parquet")

    for kind in (pa.binary(), pa.string(), pa.large_string()):

        def make_bytes(folder: Path, kind: pa.DataType = kind) -> dict[str, Any]:
            return bytes_in_parquet(folder, kind)

        name = f"not UTF-8, as {kind}"
        yield Case("texts, parquet", name, make_bytes, "accepted", rejected={"not_utf8": 1}, rows=41)

    for format in FORMATS:

        def make_ids(folder: Path, format: str = format) -> dict[str, Any]:
            odd = [{"text": "a", "id": ""}, {"text": "b", "id": "\u00a0"}, {"text": "c", "id": None}]
            return utterances_of(write(folder / f"rows.{format}", [*utterances(), *odd]))

        yield Case(f"ids, {format}", "empty", make_ids, "accepted", rejected={"missing_id": 3}, rows=51)

        def one_id(folder: Path, format: str = format) -> dict[str, Any]:
            return utterances_of(write(folder / f"rows.{format}", utterances(1, 40)))

        yield Case(f"ids, {format}", "only one", one_id, "error", ("no negative pair", f"rows.{format}: 40 rows"))

        def own_ids(folder: Path, format: str = format) -> dict[str, Any]:
            return utterances_of(write(folder / f"rows.{format}", utterances(40, 1)))

        yield Case(f"ids, {format}", "one text each", own_ids, "error", ("no pair is in train", f"rows.{format}"))
