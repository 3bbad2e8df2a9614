"""From scores to `metrics.json`: what is fitted on dev, and what is measured on dev and test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.errors import FlipkdError
from models.student.flipkd_student import fused
from pipeline.evaluation.bootstrap import Numbers, clusters
from pipeline.evaluation.headline import SCORES
from pipeline.evaluation.metrics import (
    calibrate,
    choose_threshold,
    fit_calibration,
    fit_fusion,
    metrics_with_intervals,
    spearman,
)

COSINES: tuple[str, ...] = ("teacher", "encoder")
SPLITS = ("train", "dev", "test")
MEASURED = ("dev", "test")


@dataclass(frozen=True)
class Decision:
    """What is fitted on the labelled pairs of dev.

    Attributes:
        thresholds: of each of `SCORES`; at or above it a pair is called a match.
        fusion: `{"intercept", "decoder", "encoder"}`, coefficients of the fused score.
        calibration: `{"intercept", "slope"}` of each of `COSINES`, for its probability.
    """

    thresholds: dict[str, float]
    fusion: dict[str, float]
    calibration: dict[str, dict[str, float]]

    def for_student(self) -> dict[str, Any]:
        """What `student/decision.json` holds: nothing of the teacher."""
        thresholds = {name: value for name, value in self.thresholds.items() if name != "teacher"}
        return {"thresholds": thresholds, "fusion": self.fusion}


def check_dev(pairs: pl.DataFrame) -> None:
    """Check that thresholds can be chosen.

    Raises:
        FlipkdError: dev lacks labelled pairs of a class.
    """
    counts = {label: pairs.filter(split="dev", label=label).height for label in (1, 0)}
    if 0 in counts.values():
        raise FlipkdError(
            f"dev holds {counts[1]} matching and {counts[0]} other labelled pairs; thresholds are chosen on dev, "
            "which takes both: give it more pairs (prepare.splitting.dev, or `split` of an input)"
        )


def fit_decision(scored: pl.DataFrame) -> tuple[Decision, pl.DataFrame]:
    """Fit fusion, thresholds and calibration on dev.

    Args:
        scored: `split`, `label`, `teacher`, `decoder`, `encoder`; dev holds labelled pairs of both classes.

    Returns:
        The decision, and `scored` with the column `fused`.
    """
    labels, decoder, encoder = _labelled(scored.filter(split="dev"), "decoder", "encoder")
    fusion = fit_fusion(labels, decoder, encoder)
    together = fused(scored["decoder"].to_numpy(), scored["encoder"].to_numpy(), fusion)
    scored = scored.with_columns(pl.Series("fused", together))
    labels, *on_dev = _labelled(scored.filter(split="dev"), *SCORES)
    by_name = dict(zip(SCORES, on_dev, strict=True))
    thresholds = {name: choose_threshold(labels, by_name[name]) for name in SCORES}
    calibration = {name: fit_calibration(labels, by_name[name]) for name in COSINES}
    return Decision(thresholds, fusion, calibration), scored


def _labelled(pairs: pl.DataFrame, *columns: str) -> list[NDArray[Any]]:
    """The labels and some columns of the labelled pairs."""
    known = pairs.drop_nulls("label")
    return [known[name].to_numpy() for name in ("label", *columns)]


def probability(decision: Decision, name: str, values: Numbers) -> Numbers:
    """A score as a probability: cosines through dev's calibration, the others as they are."""
    if name in COSINES:
        return calibrate(decision.calibration[name], values)
    return np.asarray(values, dtype=np.float64)


def evaluate(
    scored: pl.DataFrame,
    decision: Decision,
    filtered: Path,
    *,
    bootstrap: int,
    bins: int,
    seed: int,
    entries: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The measured part of `metrics.json`: `splits`, `thresholds`, `calibration`, `fusion`, `alignment`, `counts`.

    Beside the metrics, every score of a split has `threshold`, in the same form and without an interval. Brier
    and ECE of a cosine are those of its probability. `alignment` is the Spearman correlation of encoder and
    teacher over all pairs of the split, labelled or not.

    Args:
        scored: dev and test pairs with all `SCORES`, and the columns of pairs.
        filtered: `filtered.parquet`, for the counts.
        bootstrap: resamples behind each interval. bins: of the expected calibration error.
        entries: by source, the side of a catalogue's entries; pairs of a query are resampled together.
    """
    splits: dict[str, Any] = {}
    counts = _counts(filtered)
    for split in MEASURED:
        pairs = scored.filter(split=split)
        labels, *values = _labelled(pairs, *SCORES)
        scores = dict(zip(SCORES, values, strict=True))
        splits[split], dropped = metrics_with_intervals(
            labels,
            scores,
            {name: probability(decision, name, scores[name]) for name in SCORES},
            decision.thresholds,
            bootstrap=bootstrap,
            bins=bins,
            seed=seed,
            together=clusters(pairs.drop_nulls("label"), entries),
        )
        for name in SCORES:
            splits[split][name]["threshold"] = {"value": decision.thresholds[name], "low": None, "high": None}
        counts[split]["resamples_dropped"] = dropped
    alignment = {
        split: spearman(*(rows[name].to_numpy() for name in COSINES))
        for split in MEASURED
        for rows in [scored.filter(split=split)]
    }
    return {"splits": splits, **asdict(decision), "alignment": alignment, "counts": counts}


def _counts(filtered: Path) -> dict[str, dict[str, int]]:
    rows = (
        pl.scan_parquet(filtered)
        .group_by("split")
        .agg(
            pairs=pl.len(),
            labelled=pl.col("label").count(),
            positive=(pl.col("label") == 1).sum(),
            kept=pl.col("kept").sum(),
        )
        .collect()
    )
    found = {row.pop("split"): row for row in rows.to_dicts()}
    return {
        split: found.get(split, dict.fromkeys(("pairs", "labelled", "positive", "kept"), 0)) for split in SPLITS
    }
