"""Labels that are no 0 or 1, among forty good rows; classes that are missing; too few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import FORMATS, Case, Record, pairs, pairs_of, put, write

GOOD = ("1", "0", "1.0", "0.0", " 1 ", "True", "FALSE", "", "1\ufeff")
BAD = ("2", "-1", "0.5", "nan", "inf", "yes", "match", "1,0", "１", "01", "1e0", "None")
GOOD_JSON = (1, 0, 1.0, -0.0, True, False, None)
BAD_JSON = (2, -1, 0.5, 10**400, [1], {"label": 1}, "positive", 1e308)


def cases() -> Iterator[Case]:
    for format in FORMATS:
        for label in (*GOOD, *BAD):
            yield _one(format, label, label in BAD)
        yield Case(f"labels, {format}", "every one is bad", _all_bad(format), "error",
                   ("40 of 40 rows", "bad_label", f"rows.{format} row 1", '"label": "match"'))  # fmt: skip
        yield from _classes(format)
        yield from _few(format)
    for label in (*GOOD_JSON, *BAD_JSON):
        bad = any(label is other for other in BAD_JSON)
        yield _one("jsonl", label, bad, f"value {str(label)[:20]}")


def _one(format: str, label: Any, bad: bool, name: str | None = None) -> Case:
    def make(folder: Path) -> dict[str, Any]:
        odd = {"text_a": "an odd one", "text_b": "another", "label": label, "group": "odd"}
        return pairs_of(write(folder / f"rows.{format}", [*pairs(), odd]))

    rejected = {"bad_label": 1} if bad else {}
    return Case(f"labels, {format}", name or repr(label), make, "accepted", rejected=rejected, rows=41)


def _all_bad(format: str) -> Callable[[Path], dict[str, Any]]:
    return _of(format, [row | {"label": "match"} for row in pairs()])


def _of(
    format: str, rows: Sequence[Record], columns: Sequence[str] | None = None
) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: pairs_of(write(folder / f"rows.{format}", rows, columns))


def _classes(format: str) -> Iterator[Case]:
    def only(label: str | None) -> list[Record]:
        return [row | {"label": label} for row in pairs()]

    kind, file = f"classes, {format}", f"rows.{format}"
    yield Case(
        kind, "only positives", _of(format, only("1")), "error", ("train has no negative pair", "label 0", file)
    )
    yield Case(
        kind, "only negatives", _of(format, only("0")), "error", ("train has no positive pair", "label 1", file)
    )
    yield Case(kind, "no labels", _of(format, only("")), "accepted", rows=40)
    rows = [*only("1")[:39], pairs()[38]]
    yield Case(kind, "one negative", _of(format, rows), "error", ("has no negative pair", file))


def _few(format: str) -> Iterator[Case]:
    kind, file = f"few rows, {format}", f"rows.{format}"
    says = ("no positive pair among 1", f"{file}: 1 rows, 0 rejected", "at least two ids")
    yield Case(kind, "one row", _of(format, pairs(1)), "error", says)
    says = ("no pair is in dev", f"{file}: 2 rows, 0 rejected", "Give more groups")
    yield Case(kind, "two rows", _of(format, pairs(2)), "error", says)
    says = (file, "holds no row") if format != "jsonl" else (file, "empty")
    yield Case(kind, "no row", _of(format, [], ["text_a", "text_b", "label"]), "error", says)
    yield Case(kind, "empty file", lambda folder: pairs_of(put(folder, file, b"")), "error", (file, "empty"))
    blank = "\n \r\n\t\n"
    says = (file, "empty")
    yield Case(kind, "white space alone", lambda folder: pairs_of(put(folder, file, blank)), "error", says)
    yield Case(
        kind, "a byte-order mark alone", lambda folder: pairs_of(put(folder, file, "\ufeff")), "error", says
    )
    same = [pairs()[1]] * 40
    says = ("39 of 40 rows", "duplicate", f"{file} row 2")
    yield Case(kind, "one row forty times", _of(format, same), "error", says)
    alike = [{"text_a": "one", "text_b": " ONE", "label": "1", "group": "g"}] * 40
    yield Case(kind, "a text with itself", _of(format, alike), "error", ("same_text", f"{file} row 1"))
