from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from data import collect
from data.collect import (
    PAIR_COLUMNS,
    TEXT_COLUMNS,
    UTTERANCE_COLUMNS,
    Chunk,
    Unusable,
    collect_pairs,
    collect_texts,
    collect_utterances,
    grade_of,
)
from data.records import Reject, Row
from data.texts import pair_id, text_key

COLUMNS = {"text_a": "q1", "text_b": "q2", "label": "y"}


def joined(chunks: Iterable[Chunk]) -> Chunk:
    frames, rejects = zip(*chunks, strict=True)
    return pl.concat(frames), [reject for part in rejects for reject in part]


def pairs(*rows: dict[str, Any], columns: dict[str, str] = COLUMNS, split: str | None = None) -> Chunk:
    numbered = [Row(n, row) for n, row in enumerate(rows, 1)]
    return joined(collect_pairs(numbered, columns, split=split, max_characters=20))


def reason(**row: Any) -> str:
    frame, rejects = pairs({"q1": "one", "q2": "two", "y": "1"} | row)
    assert frame.is_empty()
    return rejects[0].reason


def test_a_pair() -> None:
    frame, rejects = pairs({"q1": " \ufeffone\n", "q2": "Two", "y": "1", "more": "x"}, split="dev")
    assert not rejects
    assert dict(frame.schema) == PAIR_COLUMNS
    assert frame.row(0, named=True) == {
        "source_row": 1, "pair_id": pair_id("one", "two"), "key_a": text_key("one"), "key_b": text_key("TWO"),
        "text_a": "one", "text_b": "Two", "label": 1, "split": "dev", "group": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "label"),
    [("0", 0), (" 1 ", 1), ("0.0", 0), ("1.0", 1), ("True", 1), ("false", 0), (0, 0), (1, 1), (1.0, 1), (True, 1),
     (False, 0), ("", None), (None, None), (float("nan"), None), (Decimal("1.00"), 1), (Decimal("NaN"), None)],
)  # fmt: skip
def test_labels(value: object, label: int | None) -> None:
    frame, rejects = pairs({"q1": "one", "q2": "two", "y": value})
    assert not rejects
    assert frame["label"].to_list() == [label]


@pytest.mark.parametrize(
    "value", ["2", "-1", "yes", "0.5", 2, -1, 0.5, [1], "nan", Decimal("0.1"), float("inf"), {}]
)
def test_bad_labels(value: object) -> None:
    assert reason(y=value) == "bad_label"


def test_reasons() -> None:
    assert reason(q1=None) == reason(q2=" \ufeff\u200b ") == reason(q1=float("nan")) == "missing_text"
    assert reason(q1=5) == reason(q1=["one"]) == "text_not_a_string"
    assert reason(q1="x" * 21) == "too_long"
    assert reason(q1="half \ud83d") == reason(q2="caf\udce9") == "not_utf8"
    assert reason(q1="nul\0") == "nul_byte"
    assert reason(q2=" ONE") == "same_text"


def test_exactly_the_longest_text_is_taken() -> None:
    assert pairs({"q1": "x" * 20, "q2": "two", "y": 1})[0].height == 1


def test_given_split_column() -> None:
    columns = COLUMNS | {"split": "s"}
    rows = [
        {"q1": "one", "q2": f"two {n}", "y": 1, "s": s} for n, s in enumerate(["train", " dev", "valid", "", None])
    ]
    frame, rejects = pairs(*rows, columns=columns)
    assert frame["split"].to_list() == ["train", "dev"]
    assert [r.reason for r in rejects] == ["bad_split"] * 3


def test_groups_are_text_whatever_they_were() -> None:
    rows = [
        {"q1": "one", "q2": f"two {n}", "y": 1, "g": g}
        for n, g in enumerate([7, " 7 ", 7.0, Decimal("7.00"), 7.5, True, "", None, float("nan")])
    ]
    found = pairs(*rows, columns=COLUMNS | {"group": "g"})[0]["group"].to_list()
    assert found == ["7", "7", "7", "7", "7.5", "True", None, None, None]


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"x"])
def test_a_group_without_a_plain_name(value: object) -> None:
    rejects = pairs({"q1": "one", "q2": "two", "y": 1, "g": value}, columns=COLUMNS | {"group": "g"})[1]
    assert [reject.reason for reject in rejects] == ["bad_id"]


@pytest.mark.parametrize("text", ["\u200b", "\u200d\u200c", "\u00ad", "\u202e \u200f", "\x01\x7f", "\ufe0f"])
def test_a_text_of_which_nobody_sees_anything_is_missing(text: str) -> None:
    assert reason(q1=text) == "missing_text"


def test_chunks_end_by_rows_and_by_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(n, {"q1": f"one {n}", "q2": f"two {n}", "y": 2 if n % 4 == 0 else 1}) for n in range(1, 101)]
    whole = joined(collect_pairs(rows, COLUMNS, split=None, max_characters=20))
    for name, value in (("CHUNK_ROWS", 7), ("CHUNK_CHARACTERS", 900)):
        with monkeypatch.context() as patch:
            patch.setattr(collect, name, value)
            chunks = list(collect_pairs(rows, COLUMNS, split=None, max_characters=20))
        assert len(chunks) > 6
        assert joined(chunks)[0].equals(whole[0])
        assert joined(chunks)[1] == whole[1]


def test_rejects_hold_the_raw_row_and_readers_rejects_pass_through() -> None:
    bad = Reject(1, "ragged_row", "[]")
    rows = [bad, Row(2, {"q1": "caf\udce9", "q2": "怎么", "y": "1"})]
    frame, rejects = joined(collect_pairs(rows, COLUMNS, split=None, max_characters=9))
    assert frame.is_empty()
    assert rejects[0] == bad
    assert json.loads(rejects[1].raw) == {"q1": "caf\\xe9", "q2": "怎么", "y": "1"}


def test_unlabelled_file() -> None:
    frame, _ = pairs({"q1": "one", "q2": "two"}, columns={"text_a": "q1", "text_b": "q2"})
    assert frame["label"].to_list() == [None]


def test_utterances() -> None:
    rows = [Row(1, {"t": "one", "i": 3}), Row(2, {"t": "two", "i": ""}), Row(3, {"t": "", "i": "x"})]
    frame, rejects = joined(collect_utterances(rows, {"text": "t", "id": "i"}, split=None, max_characters=9))
    assert dict(frame.schema) == UTTERANCE_COLUMNS
    assert frame.row(0) == (1, text_key("one"), "one", "3", None)
    assert [(r.number, r.reason) for r in rejects] == [(2, "missing_id"), (3, "missing_text")]


def test_texts_by_id_with_their_titles() -> None:
    rows = [
        Row(1, {"_id": 7.0, "title": "Card lost", "text": "What to do."}),
        Row(2, {"_id": "8", "title": "Card", "text": " card  blocked"}),
        Row(3, {"_id": "9", "title": "Card", "text": " Card blocked"}),
        Row(4, {"_id": "10", "title": None, "text": "text alone"}),
        Row(5, {"_id": "11", "title": "title alone"}),
        Row(6, {"_id": "7", "text": "again"}),
        Row(7, {"_id": "12", "title": "", "text": float("nan")}),
        Row(8, {"text": "whose?"}),
    ]
    known: dict[str, str] = {}
    columns = {"id": "_id", "text": "text", "title": "title"}
    frame, rejects = joined(collect_texts(rows, columns, known=known, wanted=None, max_characters=99))
    assert dict(frame.schema) == TEXT_COLUMNS
    assert dict(frame.select("id", "text").iter_rows()) == known
    assert known == {
        "7": "Card lost What to do.", "8": "Card card  blocked", "9": "Card blocked", "10": "text alone",
        "11": "title alone",
    }  # fmt: skip
    assert [(r.number, r.reason) for r in rejects] == [(6, "repeated_id"), (7, "missing_text"), (8, "missing_id")]


def test_texts_that_nobody_asks_for() -> None:
    rows = [Row(1, {"_id": "a", "text": "one"}), Row(2, {"_id": "b", "text": "two"})]
    found = collect_texts(rows, {"id": "_id", "text": "text"}, known={}, wanted={"b"}, max_characters=9)
    frame, rejects = joined(found)
    assert frame["id"].to_list() == ["b"]
    assert [(r.number, r.reason) for r in rejects] == [(1, "not_judged")]


@pytest.mark.parametrize(("value", "grade"), [(2, 2), ("3", 3), ("1.0", 1), (-1, -1), (Decimal("4"), 4), (0.0, 0)])
def test_grades(value: Any, grade: int) -> None:
    assert grade_of(value) == grade


@pytest.mark.parametrize("value", ["", "good", 1.5, None, float("nan"), float("inf"), "9" * 20, [1]])
def test_what_is_no_grade(value: Any) -> None:
    with pytest.raises(Unusable, match="bad_grade"):
        grade_of(value)
