"""The bounds of the dual threshold, found on plain arrays of teacher scores.

Scores are float32, so every bound is a float32 number too, returned as the float that equals it: the bound that
is recorded is the one that is compared, whatever precision a reader computes in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data.errors import FlipkdError
from pipeline.stages.filter.config import Bound


def find_bound(
    name: str,
    bound: Bound,
    *,
    positive: bool,
    train_scores: np.ndarray,
    train_labels: np.ndarray,
    dev_scores: np.ndarray,
    dev_labels: np.ndarray,
) -> dict[str, Any]:
    """A bound as the config wants it.

    Args:
        name: the config's key (`tau_pos`), for messages.
        positive: whether it bounds positives from below, or else negatives from above.
        train_scores, dev_scores: float32 (n,), of labelled pairs.
        train_labels, dev_labels: (n,) of 0 and 1.

    Returns:
        `{"bound", "by", "given"}`; with `by` = `precision` also the `reached` share and the `pairs` of dev beyond.

    Raises:
        FlipkdError: the class is missing, or no bound reaches the precision.
    """
    kind = "positives" if positive else "negatives"
    if bound.value is not None:
        return {"bound": as_float32(bound.value), "by": "value", "given": bound.value}
    if bound.quantile is not None:
        own = train_scores[train_labels == int(positive)]
        if len(own) == 0:
            raise FlipkdError(f"filter.{name}: train has no labelled {kind} to take a quantile of; give a number")
        found = np.quantile(own.astype(np.float64), bound.quantile)
        return {"bound": as_float32(found), "by": "quantile", "given": bound.quantile}
    wanted = bound.precision
    if wanted is None or set(np.unique(dev_labels)) != {0, 1}:
        positives = int(np.sum(dev_labels == 1))
        raise FlipkdError(
            f"filter.{name}: a precision is calibrated on dev, which has {positives} labelled positives and "
            f"{len(dev_labels) - positives} negatives and needs both; give a number or a quantile"
        )
    bounds, shares, counts = shares_beyond(dev_scores, dev_labels, positive=positive)
    enough = np.flatnonzero(shares >= wanted)
    if len(enough) == 0:
        best = int(np.argmax(shares))
        raise FlipkdError(
            f"filter.{name}: the teacher reaches a precision of {wanted:g} at no bound on dev; the best is "
            f"{shares[best]:.4f}, for the {counts[best]} pairs at or {'above' if positive else 'below'} "
            f"{bounds[best]:.4f}. Ask for less, or give a number or a quantile"
        )
    widest = int(enough[-1])
    return {
        "bound": float(bounds[widest]),
        "by": "precision",
        "given": wanted,
        "reached": float(shares[widest]),
        "pairs": int(counts[widest]),
    }


def shares_beyond(
    scores: np.ndarray, labels: np.ndarray, *, positive: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each distinct score t: the share of positives among the pairs with score >= t (or of negatives, <= t).

    Args:
        scores: float32 (n,).
        labels: (n,) of 0 and 1.
        positive: which of the two.

    Returns:
        The k distinct scores, from the narrowest bound (fewest pairs beyond) to the widest; the shares; the
        number of pairs beyond.
    """
    distinct, inverse = np.unique(scores, return_inverse=True)
    pairs = np.bincount(inverse, minlength=len(distinct))
    right = np.bincount(inverse, weights=labels == int(positive), minlength=len(distinct))
    if positive:
        distinct, pairs, right = distinct[::-1], pairs[::-1], right[::-1]
    counts = np.cumsum(pairs)
    return distinct, np.cumsum(right) / counts, counts


def as_float32(value: float) -> float:
    """The float that equals the nearest float32."""
    return float(np.float32(value))
