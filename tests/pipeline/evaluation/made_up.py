"""Made-up scores, and their metrics by other means."""

from __future__ import annotations

import numpy as np
from sklearn import metrics as reference

from pipeline.evaluation.bootstrap import Sample


def made_up(n: int = 90, seed: int = 0, *, ties: bool = True) -> Sample:
    """Labels and scores that overlap; with ties, scores of few distinct values."""
    draw = np.random.default_rng(seed)
    labels = (draw.random(n) < 0.4).astype(np.int8)
    scores = (0.4 + 0.2 * labels + 0.25 * draw.normal(size=n)).clip(0, 1).astype(np.float32)
    scores = scores.round(1 if ties else 6)
    return Sample(labels, scores, scores.astype(np.float64), 0.5, 10)


def by_scikit_learn(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    called = scores.astype(np.float64) >= threshold
    return {
        "f1": reference.f1_score(labels, called),
        "accuracy": reference.accuracy_score(labels, called),
        "precision": reference.precision_score(labels, called, zero_division=0),  # pyright: ignore[reportArgumentType]
        "recall": reference.recall_score(labels, called),
        "auroc": reference.roc_auc_score(labels, scores),
        "average_precision": reference.average_precision_score(labels, scores),
        "mcc": reference.matthews_corrcoef(labels, called),
        "brier": reference.brier_score_loss(labels, scores.astype(np.float64)),
    }


def ece_by_loop(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    total = 0.0
    for n in range(bins):
        last = n == bins - 1
        inside = [
            i for i, p in enumerate(probabilities) if n / bins <= p and (p < (n + 1) / bins or (last and p == 1))
        ]
        if inside:
            confidence = sum(probabilities[i] for i in inside) / len(inside)
            share = sum(labels[i] for i in inside) / len(inside)
            total += len(inside) / len(labels) * abs(confidence - share)
    return total
