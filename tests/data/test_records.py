"""Rows that could not be taken, as JSON that any reader opens."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from data.records import escaped, has_surrogates, raw_json

CUT = b"caf\xe9".decode(errors="surrogateescape")  # Latin-1 read as UTF-8
HALF = "\ud83d"  # the first half of an emoji


@pytest.mark.parametrize(("text", "broken"), [("plain", False), ("é 花", False), (CUT, True), (HALF, True)])
def test_half_characters_are_seen(text: str, broken: bool) -> None:
    assert has_surrogates(text) is broken


@pytest.mark.parametrize(
    ("text", "shown"), [("é", "é"), (CUT, "caf\\xe9"), (HALF, "\\ud83d"), (CUT + HALF, "caf\\xe9\\ud83d")]
)
def test_they_are_written_out(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_any_value_becomes_json() -> None:
    row = {
        "text": CUT, "bytes": b"\xff", "number": 1.5, "none": None, "nan": float("nan"), "day": date(2026, 1, 2),
        "exact": Decimal("0.10"), "list": [HALF, (1, float("inf"))], HALF: {"inner": CUT},
    }  # fmt: skip
    assert json.loads(raw_json(row)) == {
        "text": "caf\\xe9", "bytes": "\\xff", "number": 1.5, "none": None, "nan": "nan", "day": "2026-01-02",
        "exact": "0.10", "list": ["\\ud83d", [1, "inf"]], "\\ud83d": {"inner": "caf\\xe9"},
    }  # fmt: skip


def test_what_is_nested_too_deeply_keeps_the_names_of_its_columns() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert json.loads(raw_json({"a": deep, "b": 1})) == {"a": "(nested too deeply)", "b": "(nested too deeply)"}
