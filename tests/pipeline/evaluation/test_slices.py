"""Accuracy on parts of the measured pairs, against counts by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pipeline.evaluation.headline import SCORES
from pipeline.evaluation.slices import slices


def test_against_counts_by_hand() -> None:
    draw = np.random.default_rng(0)
    rows = 300
    frame = pl.DataFrame(
        {
            "text_a": ["x" * int(n) for n in draw.integers(1, 60, rows)],
            "text_b": ["y"] * rows,
            "label": pl.Series(draw.integers(0, 2, rows), dtype=pl.Int8),
            "split": draw.choice(["dev", "test"], rows),
            "source": ["a.csv"] * rows,
            "channel": draw.choice(["web", "phone", "fax"], rows, p=[0.6, 0.39, 0.01]),
            "ticket": [f"T{n}" for n in range(rows)],
            **{name: draw.uniform(size=rows).astype(np.float32) for name in SCORES},
        }
    ).with_columns(label=pl.when(pl.int_range(pl.len()) < 20).then(None).otherwise("label"))
    thresholds = dict(zip(SCORES, (0.3, 0.4, 0.5, 0.6), strict=True))
    found = slices(frame, thresholds, ["channel", "ticket"])
    assert set(found) == {"dev", "test"}
    # One source, a ticket a row, a fax here and there: none of them says anything.
    assert [(row["column"], row["value"]) for row in found["test"]] == [
        ("length", "short"), ("length", "middling"), ("length", "long"), ("channel", "phone"), ("channel", "web"),
    ]  # fmt: skip
    labelled = frame.filter(split="test").drop_nulls("label")
    lengths = [row for row in found["test"] if row["column"] == "length"]
    assert sum(row["labelled"] for row in lengths) == labelled.height
    assert max(row["labelled"] for row in lengths) - min(row["labelled"] for row in lengths) <= 1
    web = labelled.filter(channel="web")
    (row,) = (row for row in found["test"] if row["value"] == "web")
    assert (row["labelled"], row["positive"]) == (web.height, web["label"].sum())
    for name in SCORES:
        right = (web[name].to_numpy() >= thresholds[name]) == (web["label"].to_numpy() == 1)
        assert row["accuracy"][name] == pytest.approx(right.mean())
