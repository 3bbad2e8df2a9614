"""Given splits that leak, by text and by group, whatever their spelling; pairs that carry two labels."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import FORMATS, Case, Record, files, pairs, pairs_of, utterances_of, write

FILES = {"train": 0, "dev": 20, "test": 40}
# What the text `first text 0` of train may look like in test, and count as the same.
SPELLINGS = {
    "equal": "first text 0",
    "other case": "First TEXT 0",
    "other white space": " first\u00a0\u3000text  0 ",
    "full width": "ｆｉｒｓｔ ｔｅｘｔ ０",
    "zero width inside": "fi\u200brst te\u00adxt 0",
    "marks of direction": "\u202bfirst text 0\u202c",
    "ligature": "ﬁrst text 0",
}


def cases() -> Iterator[Case]:
    for format in FORMATS:
        for name, text in SPELLINGS.items():
            says = (
                "leak",
                "the text",
                "test and train",
                f"test.{format} row 21",
                f"train.{format} row 1",
                "column 'text_",
            )
            yield Case(
                f"leaks, {format}", name, functools.partial(_files, format, {"text_b": text}), "error", says
            )
        for name, group in (("group", "g0"), ("group, other case", " G0 ")):
            odd = {"text_a": "odd a", "text_b": "odd b", "group": group}
            says = ("leak", "the group 'g0'", f"test.{format} row 21, column 'group'", f"train.{format} row 1")
            make = functools.partial(_files, format, odd, group="group")
            yield Case(f"leaks, {format}", name, make, "error", says)
        says = ("leak", "the text", "dev and train", f"rows.{format} row 41")
        yield Case(f"leaks, {format}", "by a column", functools.partial(_column, format), "error", says)
        says = ("the group 'id1'", "test and train", "by: text")
        yield Case(f"leaks, {format}", "ids", functools.partial(_ids, format), "error", says)
    yield Case("leaks, csv", "composed and decomposed", _accents, "error", ("the text 'café'", "rows.csv row"))
    yield Case(
        "leaks, csv", "a pair turned round", _turned, "error", ("leak", "rows.csv row 41", "rows.csv row 1,")
    )
    yield Case(
        "leaks, csv",
        "a chain of rows without split",
        _chain,
        "error",
        ("chains", "free.csv row 1", "first text 0"),
    )
    yield from _contradictions()


def _three(format: str, folder: Path, odd: Record, **settings: Any) -> dict[str, Any]:
    entries = []
    for split, start in FILES.items():
        rows = pairs(20, start)
        if split == "test":
            rows.append({"text_a": "odd", "text_b": "other", "label": "1", "group": "odd"} | odd)
        path = write(folder / f"{split}.{format}", rows)
        entries.append({"path": str(path), "split": split} | settings)
    return files(*entries)


def _files(format: str, odd: Record, folder: Path, **settings: Any) -> dict[str, Any]:
    return _three(format, folder, odd, **settings)


def _with_split(rows: list[Record]) -> list[Record]:
    return [row | {"fold": ("train", "dev", "test")[n // 2 % 3]} for n, row in enumerate(rows)]


def _column(format: str, folder: Path) -> dict[str, Any]:
    rows = _with_split(pairs())
    rows.append({"text_a": "FIRST TEXT 0", "text_b": "odd", "label": "1", "group": "odd", "fold": "dev"})
    return pairs_of(write(folder / f"rows.{format}", rows), split_column="fold")


def _ids(format: str, folder: Path) -> dict[str, Any]:
    rows = [
        {
            "text": f"{split} {i} {n}",
            "id": f"id{i}" if i != 1 else ("ID1" if split == "test" else "id1"),
            "fold": split,
        }
        for split, i, n in itertools.product(("train", "test"), (1,), range(4))
    ]
    return utterances_of(write(folder / f"rows.{format}", rows), split_column="fold")


def _accents(folder: Path) -> dict[str, Any]:
    rows = _with_split(pairs())
    rows.append({"text_a": "café", "text_b": "odd 1", "label": "1", "group": "x", "fold": "train"})
    rows.append({"text_a": "CAFE\u0301", "text_b": "odd 2", "label": "1", "group": "y", "fold": "test"})
    return pairs_of(write(folder / "rows.csv", rows), split_column="fold")


def _turned(folder: Path) -> dict[str, Any]:
    rows = _with_split(pairs())
    turned = rows[0] | {"text_a": rows[0]["text_b"], "text_b": rows[0]["text_a"], "fold": "dev"}
    return pairs_of(write(folder / "rows.csv", [*rows, turned]), split_column="fold")


def _chain(folder: Path) -> dict[str, Any]:
    settings = _three("csv", folder, {})
    free = [{"text_a": "first text 0", "text_b": "first text 40", "label": "1"}]
    entry = {"kind": "pairs", "path": str(write(folder / "free.csv", free))}
    return {"prepare": settings["prepare"] | {"inputs": [*settings["prepare"]["inputs"], entry]}}


def _contradictions() -> Iterator[Case]:
    same = {"text_a": "odd a", "text_b": "odd b"}
    others = {
        "the same pair": same,
        "turned round": {"text_a": "odd b", "text_b": "odd a"},
        "other spelling": {"text_a": " ODD  a", "text_b": "ｏｄｄ b"},
    }
    for name, other in others.items():
        # Labels 1, 1, 0: two against one.
        rows = [
            same | {"label": "1", "group": "o"},
            same | {"label": "1", "group": "o"},
            other | {"label": "0", "group": "o"},
        ]
        rejected: dict[str, dict[str, int]] = {
            "reject": {"contradictory_label": 3},
            "majority": {"contradictory_label": 1, "duplicate": 1},
            "keep": {"duplicate": 1},
        }
        for policy, counts in rejected.items():

            def make(folder: Path, rows: list[Record] = rows, policy: str = policy) -> dict[str, Any]:
                return pairs_of(write(folder / "rows.csv", [*pairs(), *rows]), contradictions=policy)

            yield Case("contradictions", f"{name}, {policy}", make, "accepted", rejected=counts, rows=43)
    tie = [same | {"label": "1", "group": "o"}, others["turned round"] | {"label": "0", "group": "o"}]

    def make_tie(folder: Path) -> dict[str, Any]:
        return pairs_of(write(folder / "rows.csv", [*pairs(), *tie]), contradictions="majority")

    yield Case(
        "contradictions", "a tie, majority", make_tie, "accepted", rejected={"contradictory_label": 2}, rows=42
    )

    def every(folder: Path) -> dict[str, Any]:
        rows = pairs()
        return pairs_of(
            write(folder / "rows.csv", [*rows, *(row | {"label": str(1 - int(row["label"]))} for row in rows)])
        )

    says = ("80 of 80 rows", "contradictory_label", "rows.csv row 1", "prepare.contradictions")
    yield Case("contradictions", "every pair", every, "error", says)
