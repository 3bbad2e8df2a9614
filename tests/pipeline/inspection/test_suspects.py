"""The labels that are likeliest wrong: how many flipped ones are found, and what is written to be filled in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from data.errors import FlipkdError
from pipeline.evaluation.suspects import by_heart, noise_by, suspects
from pipeline.inspection.suspects import write_review
from pipeline.stages.prepare.overrides import read_verdicts


def made(rows: int = 600, flipped: int = 30) -> tuple[pl.DataFrame, set[str]]:
    """Scores of a good teacher, with some labels of train turned round."""
    draw = np.random.default_rng(3)
    right = draw.integers(0, 2, rows)
    split = draw.choice(["train", "train", "dev"], rows)
    wrong = draw.choice(np.flatnonzero(split == "train"), flipped, replace=False)
    label = right.copy()
    label[wrong] = 1 - label[wrong]
    frame = pl.DataFrame(
        {
            "pair_id": [f"p{n:03}" for n in range(rows)],
            "text_a": [f"text {n}" for n in range(rows)],
            "text_b": [f'other, "{n}"' for n in range(rows)],
            "label": pl.Series(label, dtype=pl.Int8),
            "split": split,
            "source": np.where(np.arange(rows) % 2, "a.csv", "b.csv"),
            "source_row": np.arange(rows),
            "teacher_score": draw.normal(0.3 + 0.4 * right, 0.1).astype(np.float32),
        }
    )
    return frame, {f"p{n:03}" for n in wrong}


def test_flipped_labels_come_first() -> None:
    rows, wrong = made()
    found = suspects(rows.lazy(), ["train"])
    assert found.height == rows.filter(split="train").height
    first = set(found["pair_id"].head(60))
    assert len(first & wrong) >= 29
    told = set(found.filter("suspect")["pair_id"])
    assert len(told & wrong) >= 24
    assert len(told) < 60
    counts = noise_by(found)
    assert counts["suspects"].sum() == len(told)
    assert counts["pairs"].sum() == found.height


def test_probabilities_against_scikit_learn() -> None:
    rows, _ = made()
    dev = rows.filter(split="dev")
    matches = int(dev["label"].sum())
    target = np.where(dev["label"] == 1, (matches + 1) / (matches + 2), 1 / (dev.height - matches + 2))  # Platt's
    scores = np.tile(dev["teacher_score"].to_numpy(), 2)[:, None]
    classes, weights = np.repeat([1, 0], dev.height), np.concatenate([target, 1 - target])
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(scores, classes, sample_weight=weights)
    found = suspects(rows.lazy(), ["train"])
    match = expit(fitted.intercept_[0] + fitted.coef_[0, 0] * found["teacher_score"].to_numpy().astype(float))
    own = np.where(found["label"].to_numpy() == 1, match, 1 - match)
    assert found["label_probability"].to_numpy() == pytest.approx(own, abs=1e-3)
    assert found["label_probability"].is_sorted()
    # Confident learning by hand.
    labels = found["label"].to_numpy()
    means = {1: match[labels == 1].mean(), 0: (1 - match)[labels == 0].mean()}
    expected = [(1 - p) >= means[1 - y] and p < 0.5 for p, y in zip(own, labels, strict=True)]
    assert found["suspect"].to_list() == expected


def test_a_review_is_filled_in_and_read_back(tmp_path: Path) -> None:
    rows, _ = made()
    path = tmp_path / "review.csv"
    write_review(suspects(rows.lazy(), ["train"]).head(10), path)
    frame = pd.read_csv(path, encoding="utf-8-sig", dtype=str, keep_default_na=False)
    assert frame.columns[:4].tolist() == ["pair_id", "verdict", "suggested", "label"]
    assert set(zip(frame["suggested"], frame["label"], strict=True)) <= {
        ("match", "no match"),
        ("no match", "match"),
    }
    assert len(read_verdicts(str(path))) == 0  # nothing is said yet
    frame.loc[:3, "verdict"] = frame.loc[:3, "suggested"]
    frame.loc[4, "verdict"] = "drop"
    frame.to_csv(path, index=False)
    verdicts = read_verdicts(str(path))
    assert verdicts.dropped == {frame.loc[4, "pair_id"]}
    assert verdicts.labels == dict(
        zip(frame.loc[:3, "pair_id"], (frame.loc[:3, "suggested"] == "match").astype(int), strict=True)
    )
    with pytest.raises(FlipkdError, match="is there already, perhaps with verdicts"):
        write_review(suspects(rows.lazy(), ["train"]), path)


def test_dev_must_have_both_classes() -> None:
    rows, _ = made()
    with pytest.raises(FlipkdError, match="fitted on dev"):
        suspects(rows.filter((pl.col("split") != "dev") | (pl.col("label") == 1)).lazy(), ["train"])
    with pytest.raises(FlipkdError, match="test hold no labelled pair"):
        suspects(rows.lazy(), ["test"])


def test_a_teacher_that_knows_its_labels_by_heart_is_told() -> None:
    rows, _ = made()
    assert by_heart(rows.lazy()) is None
    known = pl.when(pl.col("split") == "train").then(pl.col("label").cast(pl.Float32)).otherwise("teacher_score")
    worse = rows.with_columns(
        teacher_score=known,
        label=pl.when((pl.col("split") == "dev") & (pl.int_range(pl.len()) % 4 == 0))
        .then(1 - pl.col("label"))
        .otherwise("label")
        .cast(pl.Int8),
    )
    assert "by heart (AUROC 1.000, dev 0." in str(by_heart(worse.lazy()))
    assert by_heart(rows.filter(split="train").lazy()) is None
