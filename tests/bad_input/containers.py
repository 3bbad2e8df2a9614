"""Files of another kind than their ending says."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import FORMATS, Case, encoded, pairs, pairs_of, put

Packing = Callable[[bytes, Path], bytes]


def _zip(content: bytes, _: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", content)
    return buffer.getvalue()


def _empty_zip(_: bytes, __: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w"):
        pass
    return buffer.getvalue()


def _sqlite(_: bytes, folder: Path) -> bytes:
    with sqlite3.connect(folder / "db") as database:
        database.execute("create table rows (text_a, text_b, label)")
    return (folder / "db").read_bytes()


PACKINGS: dict[str, tuple[Packing, str]] = {
    "zip": (_zip, "a zip archive"),
    "an empty zip": (_empty_zip, "zip archive"),
    "gzip": (lambda content, _: gzip.compress(content), "gzip-compressed"),
    "bzip2": (lambda content, _: bz2.compress(content), "bzip2-compressed"),
    "xz": (lambda content, _: lzma.compress(content), "xz-compressed"),
    "SQLite": (_sqlite, "an SQLite database"),
    "PDF": (lambda content, _: b"%PDF-1.7\n%\xe2\xe3\n" + content, "a PDF"),
    "an old spreadsheet": (
        lambda content, _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000),
        "an old spreadsheet",
    ),
    "a picture": (lambda content, _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, ""),
    "zeros": (lambda content, _: bytes(5000), "NUL"),
}


def cases() -> Iterator[Case]:
    for format in FORMATS:
        for name, (pack, what) in PACKINGS.items():
            says = (f"rows.{format}", "Parquet") if format == "parquet" else (f"rows.{format}", what)
            yield Case(f"containers, {format}", name, functools.partial(_packed, format, pack), "error", says)
    for inside in FORMATS:
        for ending in FORMATS:
            if inside != ending and {inside, ending} != {"csv", "tsv"}:
                make = functools.partial(_renamed, inside, ending)
                yield Case(f"containers, {ending}", f"{inside} inside", make, "error", (f"rows.{ending}",))
    yield Case("containers, other", "an ending of no format", functools.partial(_ending, "rows.txt"), "error",
               ("prepare.inputs.0", "rows.txt", "`format`"))  # fmt: skip
    yield Case("containers, other", "no ending", functools.partial(_ending, "rows"), "error", ("rows", "`format`"))
    yield Case(
        "containers, other", "an ending in capitals", functools.partial(_ending, "rows.CSV"), "accepted", rows=40
    )


def _packed(format: str, pack: Packing, folder: Path) -> dict[str, Any]:
    content = pack(encoded(pairs(), "csv" if format == "parquet" else format, folder), folder)
    return pairs_of(put(folder, f"rows.{format}", content))


def _renamed(inside: str, ending: str, folder: Path) -> dict[str, Any]:
    return pairs_of(put(folder, f"rows.{ending}", encoded(pairs(), inside, folder)))


def _ending(name: str, folder: Path) -> dict[str, Any]:
    return pairs_of(put(folder, name, encoded(pairs(), "csv", folder)))
