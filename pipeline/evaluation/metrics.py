"""How well a score tells matching pairs from others: thresholds, calibration, fusion, and the metrics.

A score is an array of n numbers, higher for likelier matches; labels are n of 0 and 1. A pair is called a match
iff its score is at or above the threshold. Everything that is fitted (thresholds, calibration, fusion) is fitted
on dev, so dev's own numbers are a little flattering and only test's are fair.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    matthews_corrcoef,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from data.collect import SPLITS
from pipeline.evaluation.bootstrap import Sample, bin_of, intervals

METRICS = ("f1", "accuracy", "precision", "recall", "auroc", "average_precision", "mcc", "brier", "ece")
PROBABILITY_FLOOR = 1e-6  # as in the saved student

Numbers = NDArray[np.floating]
Estimate = dict[str, float | None]


def choose_threshold(labels: NDArray[np.integer], scores: Numbers) -> float:
    """The threshold with the highest F1; of several, the highest (fewest, surest matches).

    Candidates lie halfway between neighbouring distinct scores, so rounding a score in its last digits does not
    change its side; the lowest candidate is the lowest score itself.

    Args:
        labels: (n,) of 0 and 1, both present.
        scores: (n,).
    """
    scores = np.asarray(scores, dtype=np.float64)
    precision, recall, found = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    best = int(np.flatnonzero(f1 >= f1.max() - 1e-12)[-1])
    below = found[best - 1] if best else found[best]
    return float((found[best] + below) / 2)


def fit_logistic(labels: NDArray[np.integer], features: Numbers) -> tuple[float, list[float]]:
    """Intercept and coefficients of a logistic regression with Platt's smoothed targets.

    The targets are (N+ + 1) / (N+ + 2) and 1 / (N- + 2) in place of 1 and 0 (Platt 1999, "Probabilistic Outputs
    for Support Vector Machines"), so the fit stays finite where a score separates the classes without error.

    Args:
        labels: (n,) of 0 and 1, both present.
        features: (n, d).
    """
    labels = np.asarray(labels)
    features = np.asarray(features, dtype=np.float64)
    positive = int(labels.sum())
    target = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (len(labels) - positive + 2))
    # A smoothed target is a pair that counts as both classes, by weight. The ridge is there for a constant
    # feature and too weak to show otherwise.
    model = LogisticRegression(C=1e4, solver="newton-cholesky", max_iter=1000)
    model.fit(
        np.concatenate([features, features]),
        np.concatenate([np.ones_like(labels), np.zeros_like(labels)]),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return float(np.asarray(model.intercept_)[0]), [float(c) for c in model.coef_[0]]


def fit_calibration(labels: NDArray[np.integer], scores: Numbers) -> dict[str, float]:
    """Platt scaling of a score: `{"intercept", "slope"}` of the logistic that gives a probability."""
    intercept, coefficients = fit_logistic(labels, np.asarray(scores)[:, None])
    return {"intercept": intercept, "slope": coefficients[0]}


def calibrate(calibration: Mapping[str, float], scores: Numbers) -> Numbers:
    """Scores (n,) as probabilities, by `fit_calibration`'s result."""
    return expit(calibration["intercept"] + calibration["slope"] * np.asarray(scores, dtype=np.float64))


def fit_fusion(labels: NDArray[np.integer], decoder: Numbers, encoder: Numbers) -> dict[str, float]:
    """The decision that fuses both views: `{"intercept", "decoder", "encoder"}`.

    fused = sigmoid(intercept + decoder * logit(p) + encoder * s), p the decoder's probability, s the encoder's
    cosine: `models.student.flipkd_student.fused` computes it from these coefficients.
    """
    intercept, (for_decoder, for_encoder) = fit_logistic(labels, _fusion_features(decoder, encoder))
    return {"intercept": intercept, "decoder": for_decoder, "encoder": for_encoder}


def _fusion_features(decoder: Numbers, encoder: Numbers) -> Numbers:
    bounded = np.clip(np.asarray(decoder, dtype=np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.stack([logit(bounded), np.asarray(encoder, dtype=np.float64)], axis=1)


def expected_calibration_error(labels: NDArray[np.integer], probabilities: Numbers, bins: int) -> float:
    """Mean gap between probability and share of matches, over `bins` bins of equal width on [0, 1].

    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".
    """
    gap = np.asarray(labels, dtype=np.float64) - np.asarray(probabilities, dtype=np.float64)
    return float(np.abs(np.bincount(bin_of(probabilities, bins), weights=gap)).sum() / len(gap))


def point_metrics(sample: Sample) -> dict[str, float | None]:
    """Every metric of `METRICS`, by scikit-learn.

    Precision without a predicted match is 0. None stands where a metric is not defined: everywhere without a
    pair; with one class alone, everywhere but in accuracy, brier and ece.
    """
    labels, scores, probabilities = sample.labels, sample.scores, sample.probabilities
    found: dict[str, float | None] = dict.fromkeys(METRICS)
    if len(labels) == 0:
        return found
    called = sample.called
    found["accuracy"] = float(accuracy_score(labels, called))
    found["brier"] = float(brier_score_loss(labels, probabilities, pos_label=1))
    found["ece"] = expected_calibration_error(labels, probabilities, sample.bins)
    if sample.both_classes:
        found["f1"] = float(f1_score(labels, called))
        found["precision"] = float(precision_score(labels, called, zero_division=0))  # pyright: ignore[reportArgumentType]
        found["recall"] = float(recall_score(labels, called))
        found["auroc"] = float(roc_auc_score(labels, scores))
        found["average_precision"] = float(average_precision_score(labels, scores))
        found["mcc"] = float(matthews_corrcoef(labels, called))
    return found


def metrics_with_intervals(
    labels: NDArray[np.integer],
    scores: Mapping[str, Numbers],
    probabilities: Mapping[str, Numbers],
    thresholds: Mapping[str, float],
    *,
    bootstrap: int,
    bins: int,
    seed: int,
    together: NDArray[np.integer] | None = None,
) -> tuple[dict[str, dict[str, Estimate]], int]:
    """The metrics of several scores on one split, each with a 95 % bootstrap interval.

    All scores are measured on the same resamples of the pairs. A resample that holds one class alone is dropped
    (of a split with both).

    Args:
        labels: (n,) of 0 and 1; n may be 0.
        scores: name to (n,).
        probabilities: the same scores as probabilities, (n,) each.
        thresholds: one for each score.
        bootstrap: number of resamples.
        bins: of the expected calibration error.
        together: from `bootstrap.clusters`: which pairs are resampled together; None for each on its own.

    Returns:
        `{score: {metric: {"value", "low", "high"}}}` with None where undefined, and how many resamples were
        dropped.
    """
    samples = {
        name: Sample(np.asarray(labels), values, probabilities[name], thresholds[name], bins)
        for name, values in scores.items()
    }
    ranges, dropped = intervals(samples, bootstrap, seed, together)
    measured: dict[str, dict[str, Estimate]] = {}
    for name, sample in samples.items():
        measured[name] = {
            metric: {"value": value, "low": low, "high": high}
            for metric, value in point_metrics(sample).items()
            for low, high in [ranges[name].get(metric, (None, None))]
        }
    return measured, dropped


def spearman(first: Numbers, second: Numbers) -> float | None:
    """Rank correlation of two scores; None below two pairs or where one of them is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second)[0])  # pyright: ignore[reportArgumentType]


def auroc_by_split(rows: pl.DataFrame, scores: np.ndarray) -> dict[str, float | None]:
    """AUROC by split, None where a split lacks a class.

    Args:
        rows: n pairs with `label` and `split`.
        scores: (n,).
    """
    found: dict[str, float | None] = {}
    scored = rows.select("label", "split", score=pl.lit(pl.Series(scores)))
    for split in SPLITS:
        part = scored.filter((pl.col("split") == split) & pl.col("label").is_not_null())
        both = part["label"].n_unique() == 2
        found[split] = float(roc_auc_score(part["label"], part["score"])) if both else None
    return found
