"""Distributions and other bounds, against scikit-learn and counts by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import precision_score, recall_score

from data.errors import FlipkdError
from pipeline.inspection.describe import (
    bounds_table,
    describe_scores,
    description_table,
    draw_bounds,
    histogram,
    histogram_table,
    other_bounds,
)
from tests.terminal import shown


@pytest.fixture
def rows() -> pl.DataFrame:
    draw = np.random.default_rng(1)
    label = draw.integers(0, 2, 400)
    return pl.DataFrame(
        {
            "label": pl.Series(label, dtype=pl.Int8),
            "split": draw.choice(["train", "dev", "test"], 400),
            "channel": draw.choice(["web", "phone"], 400),
            "teacher_score": np.clip(draw.normal(0.4 + 0.2 * label, 0.15), -1, 1).astype(np.float32),
        }
    )


def test_other_bounds_against_scikit_learn(rows: pl.DataFrame) -> None:
    train, dev = (rows.filter(split=split) for split in ("train", "dev"))
    for row in other_bounds(rows.lazy()).iter_rows(named=True):
        bound = row["bound"]
        above = (dev["teacher_score"].to_numpy().astype(float) >= bound).astype(int)
        below = (dev["teacher_score"].to_numpy().astype(float) <= bound).astype(int)
        matches = train.filter(label=1)["teacher_score"].to_numpy().astype(float)
        others = train.filter(label=0)["teacher_score"].to_numpy().astype(float)
        assert row["matches_kept"] == pytest.approx((matches >= bound).mean())
        assert row["others_kept"] == pytest.approx((others <= bound).mean())
        if above.any():
            assert row["precision"] == pytest.approx(precision_score(dev["label"], above))
        assert row["recall"] == pytest.approx(recall_score(dev["label"], above))
        if below.any():
            assert row["precision_below"] == pytest.approx(precision_score(1 - dev["label"].to_numpy(), below))


def test_bounds_need_labels(rows: pl.DataFrame) -> None:
    with pytest.raises(FlipkdError, match="labelled pairs of train"):
        other_bounds(rows.with_columns(label=pl.lit(None, pl.Int8)).lazy())
    table = other_bounds(rows.filter(pl.col("split") != "dev").lazy())
    assert table["precision"].null_count() == table["recall"].null_count() == table.height


def test_they_are_drawn_and_fit_into_80_columns(rows: pl.DataFrame, tmp_path: Path) -> None:
    table = other_bounds(rows.lazy())
    text = shown(bounds_table(table, {"tau_pos": 0.4, "tau_neg": 0.6}), 80)
    assert "…" not in text
    assert "Now tau_pos 0.400, tau_neg 0.600" in text
    draw_bounds(table, {"tau_pos": 0.4}, tmp_path / "bounds.svg")
    assert (
        "precision below" in (tmp_path / "bounds.svg").read_text("utf-8")
        or (tmp_path / "bounds.svg").stat().st_size
    )
    with pytest.raises(FlipkdError, match="cannot be written"):
        draw_bounds(table, {}, tmp_path / "bounds.docx")


def test_a_column_of_ones_own_tells_groups_apart(rows: pl.DataFrame) -> None:
    found = describe_scores(rows.lazy(), "channel")
    assert found["pairs"].sum() == 400
    web = rows.filter(split="dev", channel="web", label=1)["teacher_score"]
    row = found.filter(split="dev", channel="web", label=1).to_dicts()[0]
    assert (row["pairs"], row["max"]) == (len(web), web.max())
    for width, by in ((80, None), (80, "channel")):
        assert "…" not in shown(description_table(describe_scores(rows.lazy(), by), {}, by), width)
    with pytest.raises(FlipkdError, match="--by nix: no such column; the columns are label, split"):
        describe_scores(rows.lazy(), "nix")


def test_histogram_counts_every_pair_once(rows: pl.DataFrame) -> None:
    some = rows.with_columns(label=pl.when(pl.int_range(pl.len()) < 50).then(None).otherwise("label"))
    found = histogram(some.lazy())
    counts = {1: "matches", 0: "others", None: "unlabelled"}
    for label, name in counts.items():
        assert found[name].sum() == some.filter(pl.col("label").eq_missing(label)).height
    numbers = some.filter(label=1)["teacher_score"].to_numpy()
    assert (
        found["matches"].to_list() == np.histogram(numbers, np.append(found["from"], found["to"][-1]))[0].tolist()
    )
    text = shown(histogram_table(found), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "unlabelled" in text
    assert "unlabelled" not in shown(histogram_table(histogram(rows.lazy())), 80)
