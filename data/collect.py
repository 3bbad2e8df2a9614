"""Rows of a raw file checked one by one and gathered into a frame; the ones that fail go to the rejects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from data.records import Reject, Row, has_surrogates, raw_json
from data.texts import clean, fold, pair_id_of_keys, stable_hash

SPLITS = ("train", "dev", "test")
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "": None}
_CHUNK_ROWS = 100_000

PAIR_COLUMNS: dict[str, type[pl.DataType]] = {
    "source_row": pl.Int64, "pair_id": pl.String, "key_a": pl.String, "key_b": pl.String, "text_a": pl.String,
    "text_b": pl.String, "label": pl.Int8, "split": pl.String, "group": pl.String,
}  # fmt: skip
UTTERANCE_COLUMNS: dict[str, type[pl.DataType]] = {
    "source_row": pl.Int64, "key": pl.String, "text": pl.String, "id": pl.String, "split": pl.String,
}  # fmt: skip


class Unusable(Exception):
    """Why a row cannot be used; the message is the reject's reason."""


def collect_pairs(
    rows: Iterable[Row | Reject], columns: Mapping[str, str], *, split: str | None, max_characters: int
) -> tuple[pl.DataFrame, list[Reject]]:
    """Gather a file's pairs.

    Args:
        columns: our name to the file's column: `text_a`, `text_b`, and where the file has them `label`, `group`,
            `split`.
        split: the split of the whole file, if it is given.
        max_characters: a longer text rejects the row.

    Returns:
        A frame with `PAIR_COLUMNS` (`key_a` and `key_b` are `data.texts.text_key` of the texts, `split` is null
        where it is not given), and the rejects.
    """

    def check(number: int, values: Mapping[str, Any]) -> tuple[Any, ...]:
        text_a, key_a = _text(values.get(columns["text_a"]), max_characters)
        text_b, key_b = _text(values.get(columns["text_b"]), max_characters)
        label = _label(values.get(columns["label"])) if "label" in columns else None
        own_split = _split(values.get(columns["split"])) if "split" in columns else split
        group = _name(values.get(columns["group"])) if "group" in columns else None
        if key_a == key_b:
            raise Unusable("same_text")
        return number, pair_id_of_keys(key_a, key_b), key_a, key_b, text_a, text_b, label, own_split, group

    return _collect(rows, check, PAIR_COLUMNS)


def collect_utterances(
    rows: Iterable[Row | Reject], columns: Mapping[str, str], *, split: str | None, max_characters: int
) -> tuple[pl.DataFrame, list[Reject]]:
    """Gather a file's utterances: like `collect_pairs`, with the columns `text`, `id` and perhaps `split`.

    Returns:
        A frame with `UTTERANCE_COLUMNS`, and the rejects.
    """

    def check(number: int, values: Mapping[str, Any]) -> tuple[Any, ...]:
        text, key = _text(values.get(columns["text"]), max_characters)
        identity = _name(values.get(columns["id"]))
        if identity is None:
            raise Unusable("missing_id")
        own_split = _split(values.get(columns["split"])) if "split" in columns else split
        return number, key, text, identity, own_split

    return _collect(rows, check, UTTERANCE_COLUMNS)


def _collect(
    rows: Iterable[Row | Reject],
    check: Callable[[int, Mapping[str, Any]], tuple[Any, ...]],
    schema: Mapping[str, type[pl.DataType]],
) -> tuple[pl.DataFrame, list[Reject]]:
    rejects: list[Reject] = []

    def usable() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            if isinstance(row, Reject):
                rejects.append(row)
                continue
            try:
                yield check(row.number, row.values)
            except Unusable as why:
                rejects.append(Reject(row.number, str(why), raw_json(row.values)))

    frames = [pl.DataFrame(schema=schema)]
    chunk: list[tuple[Any, ...]] = []
    for values in usable():
        chunk.append(values)
        if len(chunk) == _CHUNK_ROWS:
            frames.append(pl.DataFrame(chunk, schema=schema, orient="row"))
            chunk = []
    frames.append(pl.DataFrame(chunk, schema=schema, orient="row"))
    return pl.concat(frames), rejects


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any, max_characters: int) -> tuple[str, str]:
    if _is_missing(value):
        raise Unusable("missing_text")
    if not isinstance(value, str):
        raise Unusable("text_not_a_string")
    text = _checked(clean(value))
    if len(text) > max_characters:
        raise Unusable("too_long")
    folded = fold(text)
    if not folded:
        raise Unusable("missing_text")
    return text, stable_hash(folded)


def _checked(text: str) -> str:
    if has_surrogates(text):
        raise Unusable("not_utf8")
    if "\0" in text:
        raise Unusable("nul_byte")
    return text


def _label(value: Any) -> int | None:
    """0, 1 or None (unlabelled) from a number, a truth value or their text."""
    if _is_missing(value):
        return None
    if isinstance(value, str):
        found = _LABELS.get(clean(value).lower(), "bad")
    else:
        found = int(value) if isinstance(value, int | float) and value in (0, 1) else "bad"
    if found == "bad":
        raise Unusable("bad_label")
    return found  # pyright: ignore[reportReturnType]


def _split(value: Any) -> str:
    found = clean(value) if isinstance(value, str) else None
    if found not in SPLITS:
        raise Unusable("bad_split")
    return found


def _name(value: Any) -> str | None:
    """An id or a group: text, or a number written as text; None if there is nothing."""
    return None if _is_missing(value) else _checked(clean(str(value))) or None
