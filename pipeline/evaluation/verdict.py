"""The student against its teacher, in numbers and in one sentence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from pipeline.evaluation.bootstrap import clusters, percentiles, resampled, uncalibrated
from pipeline.evaluation.headline import SCORES

COMPARED = ("f1", "auroc")
STUDENT = tuple(name for name in SCORES if name != "teacher")


def against_teacher(
    pairs: pl.DataFrame,
    thresholds: Mapping[str, float],
    measured: Mapping[str, Any],
    *,
    bootstrap: int,
    seed: int,
    entries: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """How far each score of the student lies above the teacher's, on the same resamples of the same pairs.

    Args:
        pairs: of one split, with `label` and all `SCORES`.
        thresholds: of each score.
        measured: of that split, from `metrics.json`.
        bootstrap: resamples. entries: by source, the side of a catalogue's entries.

    Returns:
        By score and metric (`COMPARED`) `{"value", "low", "high"}`, student less teacher, with a 95 % interval;
        empty where the labelled pairs are not of both classes.
    """
    labelled = pairs.drop_nulls("label")
    labels = labelled["label"].to_numpy()
    if len(np.unique(labels)) < 2:
        return {}
    samples = {name: uncalibrated(labels, labelled[name].to_numpy(), thresholds[name]) for name in SCORES}
    drawn, _ = resampled(samples, bootstrap, seed, clusters(labelled, entries))
    found: dict[str, Any] = {name: {} for name in STUDENT}
    for name, metric in itertools.product(STUDENT, COMPARED):
        low, high = percentiles(drawn[name][metric] - drawn["teacher"][metric])
        value = measured[name][metric]["value"] - measured["teacher"][metric]["value"]
        found[name][metric] = {"value": float(value), "low": low, "high": high}
    return found


def verdict(metrics: Mapping[str, Any], split: str) -> str:
    """What to think of a student, in one sentence; its best score by F1 on dev speaks for it.

    Args:
        metrics: `metrics.json`, with `against_teacher`.
    """
    against = metrics["against_teacher"].get(split)
    if not against:
        return f"The labelled pairs of {split} are too few to say how good the student is."
    best = max(STUDENT, key=lambda name: metrics["splits"]["dev"][name]["f1"]["value"] or 0.0)
    there, difference = metrics["splits"][split], against[best]["f1"]
    if difference["low"] > 0:
        judged = "The student is better than its teacher"
    elif difference["high"] < 0:
        judged = "The student is not as good as its teacher"
    else:
        judged = "The student cannot be told from its teacher"
    points = {name: f"{100 * difference[name]:+.1f}" for name in ("value", "low", "high")}
    return (
        f"{judged}: F1 on {split} is {there[best]['f1']['value']:.3f} by its best score on dev, {best}, against "
        f"{there['teacher']['f1']['value']:.3f}, {points['value']} points (95 % interval {points['low']} to "
        f"{points['high']})."
    )
