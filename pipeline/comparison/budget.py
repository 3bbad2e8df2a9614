"""Equal cost: variants that cost less than the dearest of their dataset are trained again for as much.

Cost is counted in tokens through the trained layers, forward and backward. A student that learns from a teacher
pays for its tuning too: its seconds, as the tokens that this student trains on in that time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.comparison.config import BUDGET_KINDS, Changes, CompareConfig, Job, variant_config
from pipeline.comparison.students import PlannedStudent
from pipeline.config.config import Config
from pipeline.evaluation.headline import read_metrics
from pipeline.evaluation.verdict import STUDENT
from pipeline.store.manifest import Manifest, read_manifest

NEAR = 1.05  # what costs so little less is left as it is
FROM_LABELS = ("sft", "zero_shot")  # objectives that learn nothing from a teacher


def equal_jobs(comparison: CompareConfig, students: Sequence[PlannedStudent]) -> list[Job]:
    """The students that are still to be made so that every variant has cost as much as the dearest.

    Args:
        students: trained and measured.

    Returns:
        For each that cost less `NAME_equal`: all its passes so many times as the dearest one's tokens are its own.
        Of a baseline whose pairs are built from utterances also `NAME_fresh`, which sees as many pairs, other ones
        in each pass.
    """
    jobs: list[Job] = []
    costs = [cost(student) for student in students]
    dearest: dict[tuple[str, int], float] = {}
    for student, own in zip(students, costs, strict=True):
        place = student.dataset, student.seed
        dearest[place] = max(own, dearest.get(place, 0))
    for student, own in zip(students, costs, strict=True):
        most = dearest[student.dataset, student.seed]
        if not own or most < NEAR * own:
            continue
        for kind, changes in _longer(student, most / own):
            config = variant_config(
                comparison, student.dataset, student.variant, student.seed, str(student.store.root), changes
            )
            jobs.append((student.dataset, f"{student.variant}_{kind}", student.seed, config))
    return jobs


def cost(student: PlannedStudent) -> float:
    """Tokens, the teacher's time among them where the student learns from it; 0 where nothing was trained."""
    spent = _manifest(student, "distill").summary.get("cost", {})
    tokens, seconds = spent.get("tokens") or 0, spent.get("seconds") or 0
    if not tokens or not seconds or student.config.distill.objective in FROM_LABELS:
        return tokens
    return tokens * (1 + _manifest(student, "teach").duration_seconds / seconds)


def _longer(student: PlannedStudent, times: float) -> Iterator[tuple[str, Changes]]:
    distill = student.config.distill
    epochs = min(100.0, round(distill.epochs * times, 2))
    longer: Changes = {"distill.epochs": epochs}
    if distill.objective not in FROM_LABELS:
        longer["distill.text_epochs"] = min(1000.0, round(distill.text_epochs * times, 2))
    yield "equal", longer
    if distill.objective == "flip" or not builds_pairs(student.config):
        return
    pairs = student.config.prepare.pairs
    yield (
        "fresh",
        longer
        | {
            "distill.pairs": _manifest(student, "distill").summary["pairs"],
            "prepare.pairs.positives_per_id": pairs.positives_per_id * math.ceil(epochs),
            "prepare.pairs.measured_per_id": pairs.measured_per_id or pairs.positives_per_id,
        },
    )


def builds_pairs(config: Config) -> bool:
    """Whether more pairs can be had than there are: they are built from utterances."""
    return any(entry.kind == "utterances" for entry in config.prepare.inputs)


def _manifest(student: PlannedStudent, stage: str) -> Manifest:
    (step,) = (step for step in student.steps if step.stage == stage)
    return read_manifest(student.store.path(step.stage, step.key))


def best_on_dev(students: Sequence[PlannedStudent], variant: str) -> str:
    """Of a variant and what equal cost made of it the one whose best score has the highest F1 on dev, over seeds.

    Args:
        students: measured.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for student in students:
        if student.variant in {variant, *(f"{variant}_{kind}" for kind in BUDGET_KINDS)}:
            scores = read_metrics(student.folder)["splits"]["dev"]
            for score in STUDENT:
                means = found.setdefault(student.variant, {}).setdefault(score, [])
                means.append(scores[score]["f1"]["value"])
    best = {name: max(float(np.mean(values)) for values in scores.values()) for name, scores in found.items()}
    return max(best, key=lambda name: best[name]) if best else variant
