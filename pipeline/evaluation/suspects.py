"""The labels that are likeliest wrong, by the teacher's calibrated score.

Confident learning (Northcutt et al., 2021) on two classes:

    p(match) = sigmoid(intercept + slope * teacher_score), fitted on the labelled pairs of dev

A pair's `label_probability` is what that leaves for its own label. It is a suspect where the other class is
confident: its probability is at or above the mean that the pairs of that class have for it, and above that of the
pair's label.

The teacher has seen the labels of train in its tuning. On medical pairs, two passes over 1,700 of them, its scores
found 20 % wrong labels as well as scores out of fold did (AUROC 0.891 and 0.889). A teacher that has learnt its
labels by heart finds few: `by_heart` tells, `teach.folds` has others judge them, and `benchmarks/suspects.py`
measures both.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from data.errors import FlipkdError
from data.schema import IN_SAMPLE_SCORE
from pipeline.evaluation.metrics import auroc_by_split, calibrate, fit_calibration


def suspects(rows: pl.LazyFrame, splits: list[str]) -> pl.DataFrame:
    """The labelled pairs of some splits, the likeliest wrong ones first.

    Args:
        rows: of scores.

    Returns:
        `rows` with `label_probability`, 0 to 1, and `suspect`; by the probability, then by `pair_id`.

    Raises:
        FlipkdError: dev lacks labelled pairs of a class, or there is no labelled pair to judge.
    """
    labelled = rows.drop_nulls("label").collect()
    dev = labelled.filter(split="dev")
    if dev["label"].n_unique() < 2:
        raise FlipkdError("suspects: probabilities are fitted on dev, which needs labelled pairs of both classes")
    found = labelled.filter(pl.col("split").is_in(splits))
    if found.is_empty():
        raise FlipkdError(f"suspects: {' and '.join(splits)} hold no labelled pair")
    calibration = fit_calibration(dev["label"].to_numpy(), dev["teacher_score"].to_numpy())
    match = calibrate(calibration, found["teacher_score"].to_numpy())
    labels = found["label"].to_numpy()
    own = np.where(labels == 1, match, 1 - match)
    means = {label: own[labels == label].mean() if (labels == label).any() else 1.0 for label in (0, 1)}
    confident = (1 - own) >= np.where(labels == 1, means[0], means[1])
    return found.with_columns(label_probability=pl.Series(own), suspect=pl.Series(confident & (own < 0.5))).sort(
        "label_probability", "pair_id"
    )


BY_HEART = 0.1  # AUROC of train above that of dev


def by_heart(rows: pl.LazyFrame) -> str | None:
    """A warning where the teacher separates the pairs that it was tuned on far better than others; else None."""
    if IN_SAMPLE_SCORE.name in rows.collect_schema():  # the scores are out of fold
        return None
    labelled = rows.drop_nulls("label").select("split", "label", "teacher_score").collect()
    found = auroc_by_split(labelled, labelled["teacher_score"].to_numpy())
    train, dev = found["train"], found["dev"]
    if train is None or dev is None or train - dev <= BY_HEART:
        return None
    return (
        f"the teacher has learnt labels of train by heart (AUROC {train:.3f}, dev {dev:.3f}), "
        "wrong ones too, so few of them show; with `teach.folds: 5` others judge them"
    )


def noise_by(frame: pl.DataFrame, by: str = "source") -> pl.DataFrame:
    """How many labels are suspects, by the values of a column and by label: `pairs`, `suspects`, `share`."""
    found = frame.group_by(by, "label").agg(pairs=pl.len(), suspects=pl.col("suspect").sum())
    return found.with_columns(share=pl.col("suspects") / pl.col("pairs")).sort(by, "label")
