"""Files that are no UTF-8, in part or as a whole."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import TEXT_FORMATS, Case, Record, encoded, pairs, pairs_of, put

UTF16 = ("utf-16-le", "utf-16-be")


def cases() -> Iterator[Case]:
    for format in TEXT_FORMATS:
        kind, file = f"encodings, {format}", f"rows.{format}"
        for name in ("utf-16", *UTF16, "utf-32", "utf-32-be"):
            says = (file, "UTF-16", "UTF-8")
            yield Case(kind, name, functools.partial(_as, format, name, ""), "error", says)
        for name, words in (
            ("latin-1", "café"),
            ("cp1252", "“café”"),
            ("shift_jis", "日本語"),
            ("gb18030", "花呗"),
        ):
            says = (file, "row 1", "not_utf8", "UTF-8", *(() if format == "jsonl" else ("40 of 40 rows",)))
            yield Case(kind, name, functools.partial(_as, format, name, words), "error", says)
        yield Case(
            kind, "utf-8 with a mark", functools.partial(_as, format, "utf-8-sig", "é"), "accepted", rows=40
        )
        yield Case(kind, "a mark in every line", functools.partial(_marked, format), "accepted", rows=40)
        yield Case(kind, "two marks", functools.partial(_twice, format), "either", ())
        yield Case(kind, "one line of latin-1", functools.partial(_one, format), "accepted",
                   rejected={"not_utf8": 1}, rows=41)  # fmt: skip
        yield Case(kind, "binary", functools.partial(_binary, format), "error", (file,))
    head = functools.partial(_header, "text_a,text_b,label,café\n".encode("latin-1"))
    yield Case("encodings, csv", "latin-1 in the header", head, "error", ("rows.csv", "first line", "UTF-8"))
    head = functools.partial(_header, b"text_a,text_b,label,\0\n")
    yield Case("encodings, csv", "NUL in the header", head, "error", ("rows.csv", "first line", "NUL"))


def _rows(words: str) -> list[Record]:
    return [row | {"text_a": f"{row['text_a']} {words}"} for row in pairs()]


def _text(format: str, folder: Path, words: str = "") -> str:
    plain = encoded(_rows("WORDS"), format, folder).decode().replace("\r\n", "\n")
    return plain.replace("WORDS", words)


def _as(format: str, encoding: str, words: str, folder: Path) -> dict[str, Any]:
    return pairs_of(put(folder, f"rows.{format}", _text(format, folder, words).encode(encoding)))


def _marked(format: str, folder: Path) -> dict[str, Any]:
    lines = _text(format, folder).splitlines(keepends=True)
    return pairs_of(put(folder, f"rows.{format}", "".join("\ufeff" + line for line in lines)))


def _twice(format: str, folder: Path) -> dict[str, Any]:
    return pairs_of(put(folder, f"rows.{format}", "\ufeff\ufeff" + _text(format, folder)))


def _one(format: str, folder: Path) -> dict[str, Any]:
    text = _text(format, folder)
    last = text.splitlines(keepends=True)[-1].replace("first text 39", "first café")
    return pairs_of(put(folder, f"rows.{format}", text.encode() + last.encode("latin-1")))


def _binary(format: str, folder: Path) -> dict[str, Any]:
    return pairs_of(put(folder, f"rows.{format}", bytes(range(256)) * 100))


def _header(head: bytes, folder: Path) -> dict[str, Any]:
    body = b"".join(b"a %d,b %d,%d,x\n" % (n, n, n % 2) for n in range(40))
    return pairs_of(put(folder, "rows.csv", head + body))
