"""Rows of a raw file checked one by one and gathered into frames; the ones that fail go to the rejects."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from data.records import Reject, Row, has_surrogates, raw_json
from data.texts import clean, fold, is_blank, pair_id_of_keys, stable_hash

SPLITS = ("train", "dev", "test")
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "": None}
# A chunk is full at so many rows, or so many characters of texts and raw rejects.
CHUNK_ROWS = 50_000
CHUNK_CHARACTERS = 2**24

PAIR_COLUMNS: dict[str, type[pl.DataType]] = {
    "source_row": pl.Int64, "pair_id": pl.String, "key_a": pl.String, "key_b": pl.String, "text_a": pl.String,
    "text_b": pl.String, "label": pl.Int8, "split": pl.String, "group": pl.String,
}  # fmt: skip
UTTERANCE_COLUMNS: dict[str, type[pl.DataType]] = {
    "source_row": pl.Int64, "key": pl.String, "text": pl.String, "id": pl.String, "split": pl.String,
}  # fmt: skip
RAW_COLUMNS: dict[str, type[pl.DataType]] = {"source_row": pl.Int64, "key": pl.String, "text": pl.String}
TEXT_COLUMNS: dict[str, type[pl.DataType]] = {"source_row": pl.Int64, "id": pl.String, "text": pl.String}

Chunk = tuple[pl.DataFrame, list[Reject]]


class Unusable(Exception):
    """Why a row cannot be used; the message is the reject's reason."""


def collect_pairs(
    rows: Iterable[Row | Reject], columns: Mapping[str, str], *, split: str | None, max_characters: int
) -> Iterator[Chunk]:
    """Gather a file's pairs, a chunk at a time.

    Args:
        columns: our name to the file's column: `text_a`, `text_b`, and where the file has them `label`, `group`,
            `split`.
        split: the split of the whole file, if it is given.
        max_characters: a longer text rejects the row.

    Yields:
        A frame with `PAIR_COLUMNS` (`key_a` and `key_b` are `data.texts.text_key` of the texts, `split` is null
        where it is not given), and the rejects that lie between its rows. Both may be empty.
    """

    def check(number: int, values: Mapping[str, Any]) -> tuple[Any, ...]:
        text_a, key_a = checked_text(values.get(columns["text_a"]), max_characters)
        text_b, key_b = checked_text(values.get(columns["text_b"]), max_characters)
        label = label_of(values.get(columns["label"])) if "label" in columns else None
        own_split = split_of(values.get(columns["split"])) if "split" in columns else split
        group = name_of(values.get(columns["group"])) if "group" in columns else None
        if key_a == key_b:
            raise Unusable("same_text")
        return number, pair_id_of_keys(key_a, key_b), key_a, key_b, text_a, text_b, label, own_split, group

    return _collect(rows, check, PAIR_COLUMNS)


def collect_utterances(
    rows: Iterable[Row | Reject], columns: Mapping[str, str], *, split: str | None, max_characters: int
) -> Iterator[Chunk]:
    """Gather a file's utterances: like `collect_pairs`, with the columns `text`, `id` and perhaps `split`.

    Yields:
        A frame with `UTTERANCE_COLUMNS`, and the rejects.
    """

    def check(number: int, values: Mapping[str, Any]) -> tuple[Any, ...]:
        text, key = checked_text(values.get(columns["text"]), max_characters)
        identity = name_of(values.get(columns["id"]))
        if identity is None:
            raise Unusable("missing_id")
        own_split = split_of(values.get(columns["split"])) if "split" in columns else split
        return number, key, text, identity, own_split

    return _collect(rows, check, UTTERANCE_COLUMNS)


def collect_raw_texts(
    rows: Iterable[Row | Reject], columns: Mapping[str, str], *, max_characters: int
) -> Iterator[Chunk]:
    """Gather texts that nothing is known of: like `collect_utterances`, with the column `text` alone.

    Yields:
        A frame with `RAW_COLUMNS`, and the rejects.
    """

    def check(number: int, values: Mapping[str, Any]) -> tuple[Any, ...]:
        text, key = checked_text(values.get(columns["text"]), max_characters)
        return number, key, text

    return _collect(rows, check, RAW_COLUMNS)


def collect_texts(
    rows: Iterable[Row | Reject],
    columns: Mapping[str, str],
    *,
    known: dict[str, str],
    wanted: Container[str] | None,
    max_characters: int,
) -> Iterator[Chunk]:
    """Gather texts by their ids: documents, or the queries that are asked for them.

    Args:
        columns: our name to the file's column: `id`, `text` and perhaps `title`, which is set before a text that
            does not begin with it.
        known: texts by id; gets those of the file.
        wanted: the ids that are needed; others are rejected as `not_judged`. None for all.

    Yields:
        A frame with `TEXT_COLUMNS`, and the rejects.
    """

    def check(number: int, values: Mapping[str, Any]) -> tuple[Any, ...]:
        identity = name_of(values.get(columns["id"]))
        if identity is None:
            raise Unusable("missing_id")
        if identity in known:
            raise Unusable("repeated_id")
        if wanted is not None and identity not in wanted:
            raise Unusable("not_judged")
        text = values.get(columns["text"])
        title = values.get(columns["title"]) if "title" in columns else None
        if isinstance(title, str) and (_is_missing(text) or isinstance(text, str)):
            title, body = clean(title), "" if _is_missing(text) else clean(str(text))
            text = body if body.startswith(title) else f"{title} {body}"
        known[identity], _ = checked_text(text, max_characters)
        return number, identity, known[identity]

    return _collect(rows, check, TEXT_COLUMNS)


def _collect(
    rows: Iterable[Row | Reject],
    check: Callable[[int, Mapping[str, Any]], tuple[Any, ...]],
    schema: Mapping[str, type[pl.DataType]],
) -> Iterator[Chunk]:
    taken: list[tuple[Any, ...]] = []
    rejects: list[Reject] = []
    characters = 0
    for row in rows:
        found = row if isinstance(row, Reject) else _checked_row(row, check)
        if isinstance(found, Reject):
            rejects.append(found)
            characters += len(found.raw)
        else:
            taken.append(found)
            characters += sum([len(value) for value in found if isinstance(value, str)])
        if len(taken) + len(rejects) >= CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
            yield pl.DataFrame(taken, schema=schema, orient="row"), rejects
            taken, rejects, characters = [], [], 0
    yield pl.DataFrame(taken, schema=schema, orient="row"), rejects


def _checked_row(row: Row, check: Callable[[int, Mapping[str, Any]], tuple[Any, ...]]) -> tuple[Any, ...] | Reject:
    try:
        return check(row.number, row.values)
    except Unusable as why:
        return Reject(row.number, str(why), raw_json(row.given or row.values))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def checked_text(value: Any, max_characters: int) -> tuple[str, str]:
    """A text as it is kept, and its `data.texts.text_key`.

    Raises:
        Unusable: it is none, or too long.
    """
    if _is_missing(value):
        raise Unusable("missing_text")
    if not isinstance(value, str):
        raise Unusable("text_not_a_string")
    text = _checked(clean(value))
    if len(text) > max_characters:
        raise Unusable("too_long")
    folded = fold(text)
    if is_blank(folded):
        raise Unusable("missing_text")
    return text, stable_hash(folded)


def _checked(text: str) -> str:
    if has_surrogates(text):
        raise Unusable("not_utf8")
    if "\0" in text:
        raise Unusable("nul_byte")
    return text


def label_of(value: Any) -> int | None:
    """0, 1 or None (unlabelled) from a number, a truth value or their text."""
    if _is_missing(value):
        return None
    if isinstance(value, str):
        found = _LABELS.get(clean(value).lower(), "bad")
    else:
        found = int(value) if isinstance(value, int | float | Decimal) and value in (0, 1) else "bad"
    if found == "bad":
        raise Unusable("bad_label")
    return found  # pyright: ignore[reportReturnType]


def grade_of(value: Any) -> int:
    """A judgement's grade, a whole number, or its text."""
    text = clean(value) if isinstance(value, str) else value
    try:
        number = float(text) if isinstance(text, str | int | float | Decimal) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number != int(number) or abs(number) > 2**31 - 1:
        raise Unusable("bad_grade")
    return int(number)


def split_of(value: Any) -> str:
    found = clean(value) if isinstance(value, str) else None
    if found not in SPLITS:
        raise Unusable("bad_split")
    return found


def name_of(value: Any) -> str | None:
    """An id or a group: text, or a number written as text (7.0 as 7); None if there is nothing."""
    if _is_missing(value):
        return None
    if not isinstance(value, str | int | float | Decimal | date):
        raise Unusable("bad_id")
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)  # a column of whole numbers with gaps comes as floats from pandas
    return _checked(clean(str(value))) or None
