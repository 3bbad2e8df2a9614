"""How right each score is on parts of the measured pairs: by source, by length, by columns of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from pipeline.evaluation.decision import MEASURED
from pipeline.evaluation.headline import SCORES

MOST_VALUES = 12  # a column with more values is an id rather than a kind
FEWEST_PAIRS = 10
LENGTHS = ("short", "middling", "long")


def slices(predictions: pl.DataFrame, thresholds: Mapping[str, float], kept: Sequence[str]) -> dict[str, Any]:
    """Accuracy of every score on slices of the labelled pairs, by split.

    Accuracy and not F1: a slice may hold one class alone.

    Args:
        predictions: `PREDICTIONS`, and the columns `kept`.
        thresholds: of `SCORES`: at or above it a pair is called a match.

    Returns:
        By split a list of `{"column", "value", "labelled", "positive", "accuracy": {score: 0 to 1}}`. Left out are
        slices of fewer than `FEWEST_PAIRS` pairs, and columns with one value or more than `MOST_VALUES`. The
        column `length` cuts the pairs into thirds by the characters of both texts.
    """
    found: dict[str, Any] = {}
    for split in MEASURED:
        labelled = predictions.filter(split=split).drop_nulls("label")
        length = pl.col("text_a").str.len_chars() + pl.col("text_b").str.len_chars()
        third = (length.rank("ordinal") - 1) * 3 // pl.len()
        labelled = labelled.with_columns(
            __length=third.replace_strict(dict(enumerate(LENGTHS)), return_dtype=pl.String)
        )
        found[split] = [
            {"column": title, **row}
            for column, title in (("source", "source"), ("__length", "length"), *((name, name) for name in kept))
            for row in _by(labelled, column, thresholds)
        ]
    return found


def _by(labelled: pl.DataFrame, column: str, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    if not 2 <= labelled[column].n_unique() <= MOST_VALUES:
        return []
    right = {score: ((pl.col(score) >= thresholds[score]) == (pl.col("label") == 1)).mean() for score in SCORES}
    groups = labelled.group_by(column, maintain_order=True).agg(
        labelled=pl.len(), positive=(pl.col("label") == 1).sum(), **right
    )
    order = (
        groups.sort(column, nulls_last=True)
        if column != "__length"
        else groups.sort(pl.col(column).cast(pl.Enum(LENGTHS)))
    )
    return [
        {
            "value": str(row[column]),
            "labelled": row["labelled"],
            "positive": row["positive"],
            "accuracy": {score: row[score] for score in SCORES},
        }
        for row in order.to_dicts()
        if row["labelled"] >= FEWEST_PAIRS
    ]
