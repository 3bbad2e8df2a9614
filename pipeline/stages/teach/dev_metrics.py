"""What a teacher is worth on dev."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from data.errors import FlipkdError
from models.teacher.bi_encoder import pair_scores
from models.teacher.training_sets import LabelledPairs
from pipeline.evaluation.metrics import choose_threshold


def dev_metrics(teacher: SentenceTransformer, dev: LabelledPairs) -> dict[str, float] | None:
    """`metrics_of` a teacher's cosines.

    Returns:
        None where dev lacks a class, since AUROC is not defined there.

    Raises:
        FlipkdError: a score is not a number.
    """
    if set(dev.label) != {0, 1}:
        return None
    return metrics_of(dev.label, pair_scores(teacher, dev.text_a, dev.text_b))


def metrics_of(label: Sequence[int] | np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """AUROC, average precision, and F1 and accuracy at the threshold with the best F1.

    Args:
        label: (n,) of 0 and 1, both present.
        scores: (n,).

    Raises:
        FlipkdError: a score is not a number.
    """
    labels = np.asarray(label)
    if not np.isfinite(scores).all():
        raise FlipkdError("teach: the teacher gives scores on dev that are not numbers; take another teach.model")
    threshold = choose_threshold(labels, scores)
    called = scores >= threshold
    return {
        "auroc": float(roc_auc_score(labels, scores)),
        "average_precision": float(average_precision_score(labels, scores)),
        "threshold": threshold,
        "f1": float(f1_score(labels, called)),
        "accuracy": float(accuracy_score(labels, called)),
    }
