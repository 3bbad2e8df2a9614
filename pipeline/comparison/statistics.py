"""The numbers of a comparison: a table of all students, and paired differences with their intervals.

All students of a dataset are measured on the same test pairs. A resample draws pairs once, those of a group or
query together, and measures every student on them (paired bootstrap); the seeds of a variant are averaged within a
resample. So an interval says how far the numbers depend on the pairs of the test, and the standard deviation over
seeds, beside it, how far on chance in training.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.errors import FlipkdError
from pipeline.comparison import retrieval
from pipeline.evaluation.bootstrap import PERCENTILES, Sample, clusters, resamples, weighted_metrics
from pipeline.evaluation.headline import SCORES
from pipeline.evaluation.metrics import METRICS
from pipeline.store.manifest import read_manifest

Numbers = NDArray[np.floating]
Key = tuple[str, int, str]  # variant, seed, score
ROWS = {
    "dataset": pl.String, "variant": pl.String, "seed": pl.Int64, "split": pl.String,
    "score": pl.String, "metric": pl.String, "value": pl.Float64,
}  # fmt: skip
SUMMARY = {
    "dataset": pl.String, "variant": pl.String, "score": pl.String, "metric": pl.String, "against": pl.String,
    "seeds": pl.Int64, "mean": pl.Float64, "deviation": pl.Float64, "low": pl.Float64, "high": pl.Float64,
}  # fmt: skip
TEACHER = "teacher"
BEST = "best"
COST = "cost"


@dataclass(frozen=True)
class MeasuredStudent:
    """One measured student: where its `measure` artifact lies."""

    dataset: str
    variant: str
    seed: int
    folder: Path


def value_rows(students: Iterable[MeasuredStudent]) -> pl.DataFrame:
    """A row for each student, split, score and metric, with the columns `ROWS`.

    A teacher's rows stand once, as a variant of its own (`teacher_names`), seed 0. What a training cost stands
    under the split `train` and the score `cost`: its `seconds`, and of a student's steps the `tokens` and
    `peak_memory_gb` (`pipeline.stages.distill.job.training_cost`).
    """
    rows: dict[tuple[Any, ...], float] = {}
    students = list(students)
    teachers = {dataset: teacher_names(own) for dataset, own in _by_dataset(students).items()}
    for student in students:
        teacher = teachers[student.dataset][student.variant]
        for who, metric, value in _costs(student, teacher):
            rows.setdefault((student.dataset, *who, "train", COST, metric), value)
        metrics = json.loads((student.folder / "metrics.json").read_text("utf-8"))
        for split, scores in metrics["splits"].items():
            for score in SCORES:
                who = (teacher, 0) if score == TEACHER else (student.variant, student.seed)
                for metric in METRICS:
                    value = scores[score][metric]["value"]
                    if value is not None:
                        rows.setdefault((student.dataset, *who, split, score, metric), value)
        for split, score, metric, value in retrieval.figures(student.folder):
            who = (teacher, 0) if score == TEACHER else (student.variant, student.seed)
            rows.setdefault((student.dataset, *who, split, score, metric), value)
    return pl.DataFrame([(*key, value) for key, value in rows.items()], schema=ROWS, orient="row")


def _costs(student: MeasuredStudent, teacher: str) -> Iterator[tuple[tuple[str, int], str, float]]:
    """Variant and seed, metric, value: what the student's training and its teacher's took, where it is known."""
    artifacts = student.folder.parents[1]
    distilled = read_manifest(artifacts / "distill" / read_manifest(student.folder).inputs["distill"])
    for metric, value in distilled.summary.get("cost", {}).items():
        if value is not None:
            yield (student.variant, student.seed), metric, float(value)
    # The student does not need them any more, so they may have been swept away.
    scored = artifacts / "score" / distilled.inputs["score"]
    if not scored.is_dir():
        return
    taught = artifacts / "teach" / read_manifest(scored).inputs["teach"]
    if taught.is_dir():
        yield (teacher, 0), "seconds", read_manifest(taught).duration_seconds


def teacher_names(students: Iterable[MeasuredStudent]) -> dict[str, str]:
    """Under which name each variant's teacher stands among the variants of its dataset.

    Returns:
        `teacher` for the first variant's, and for all that share it; `teacher of VARIANT` for another one.
    """
    seen: list[tuple[str, pl.Series]] = []
    names: dict[str, str] = {}
    for student in students:
        if student.variant not in names:
            scores = _test_predictions(student)["teacher"]
            known = next((name for name, others in seen if others.equals(scores)), None)
            names[student.variant] = known or (f"{TEACHER} of {student.variant}" if seen else TEACHER)
            seen.append((names[student.variant], scores))
    return names


def is_teacher(variant: str) -> bool:
    """Whether a name among the variants is a teacher's."""
    return variant == TEACHER or variant.startswith(f"{TEACHER} of ")


def _by_dataset(students: Iterable[MeasuredStudent]) -> dict[str, list[MeasuredStudent]]:
    found: dict[str, list[MeasuredStudent]] = {}
    for student in students:
        found.setdefault(student.dataset, []).append(student)
    return found


def _test_predictions(student: MeasuredStudent) -> pl.DataFrame:
    return pl.read_parquet(student.folder / "predictions.parquet").filter(split="test").sort("pair_id")


def summarise(students: Iterable[MeasuredStudent], against: str, *, count: int, seed: int) -> pl.DataFrame:
    """Means over seeds on test with 95 % intervals, and differences from one variant and from the teacher.

    Args:
        against: the variant that others are compared with, score against the same score; `best` compares the best
            of a variant's scores (by the mean of F1 on dev) with the best of the other's.
        count: resamples. seed: of them.

    Returns:
        The columns `SUMMARY`: `against` is empty for a mean, else whose value was taken off. `deviation` is the
        standard deviation over seeds. Two variants are compared on the seeds that both have, where there are any.

    Raises:
        FlipkdError: the students of a dataset have different test pairs.
    """
    rows = [
        {"dataset": dataset, **row}
        for dataset, found in _by_dataset(students).items()
        for row in _summarise(dataset, found, against, count, seed)
    ]
    return pl.DataFrame(rows, schema=SUMMARY)


def _summarise(
    dataset: str, students: list[MeasuredStudent], against: str, count: int, seed: int
) -> Iterable[dict[str, Any]]:
    teachers = teacher_names(students)
    labels, together, samples, chosen = _samples(dataset, students, teachers)
    whole = np.ones((1, len(labels)), np.int32)
    exact = {key: _of(sample, whole) for key, sample in samples.items()}
    drawn: dict[Any, dict[str, list[Numbers]]] = {key: {metric: [] for metric in METRICS} for key in samples}
    for weights in resamples(labels, count, seed, together):
        for key, sample in samples.items():
            for metric, values in _of(sample, weights).items():
                drawn[key][metric].append(values)
    spread = {
        key: {m: np.concatenate(parts) for m, parts in found.items() if parts} for key, found in drawn.items()
    }
    for key, found in _searches(dataset, students, teachers, count, seed).items():
        exact[key] = {**exact[key], **{metric: np.array([level]) for metric, (level, _) in found.items()}}
        spread[key] |= {metric: draws for metric, (_, draws) in found.items()}
    variants = list(dict.fromkeys(student.variant for student in students))
    scores = (*SCORES[1:], BEST)

    def keys(variant: str, score: str) -> list[Key]:
        if is_teacher(variant):
            return [(variant, 0, TEACHER)]
        seeds = [student.seed for student in students if student.variant == variant]
        return [(variant, number, chosen[variant] if score == BEST else score) for number in seeds]

    def means(side: list[Key], metric: str) -> tuple[float, Numbers]:
        """Over the students of one side: on the test pairs as they are, and in every resample."""
        level = float(np.mean([exact[key][metric][0] for key in side]))
        return level, np.mean([spread[key][metric] for key in side], axis=0)

    named = dict.fromkeys(teachers.values())
    for variant, score in [*((name, TEACHER) for name in named), *((v, s) for v in variants for s in scores)]:
        ours = keys(variant, score)
        for metric in (*METRICS, *retrieval.METRICS):
            if metric not in exact[ours[0]]:
                continue
            level, draws = means(ours, metric)
            values = [exact[key][metric][0] for key in ours]
            common = {"variant": variant, "score": score, "metric": metric, "seeds": len(ours)}
            deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
            yield common | {"against": "", "mean": level, "deviation": deviation, **_interval(draws)}
            for other in (against, TEACHER):
                if other == variant or (other != TEACHER and other not in variants) or is_teacher(variant):
                    continue
                mine, theirs = shared(ours, keys(teachers[variant] if other == TEACHER else other, score))
                level, draws = means(mine, metric)
                their_level, their_draws = means(theirs, metric)
                yield common | {
                    "against": other, "seeds": len(mine), "mean": level - their_level, "deviation": None,
                    **_interval(draws - their_draws),
                }  # fmt: skip


def _searches(
    dataset: str, students: list[MeasuredStudent], teachers: Mapping[str, str], count: int, seed: int
) -> dict[Key, dict[str, tuple[float, Numbers]]]:
    """Metrics of retrieval for every score of every student, as they are and in resamples of the queries.

    Returns:
        By student's score and metric; empty where the pairs name no catalogue.
    """
    found: dict[Key, dict[str, tuple[float, Numbers]]] = {}
    first: pl.DataFrame | None = None
    for student in students:
        queries = retrieval.queries_of_test(student.folder)
        if queries is None:
            continue
        asked = queries.select("query_id", "group", "score")
        if first is not None and not asked.equals(first):
            raise FlipkdError(f"{dataset}: variant {student.variant} was asked other test queries than the others")
        first = asked
        for score, metrics in retrieval.resampled(queries, count, seed).items():
            who, number = (teachers[student.variant], 0) if score == TEACHER else (student.variant, student.seed)
            found.setdefault((who, number, score), metrics)
    return found


def shared(ours: list[Key], theirs: list[Key]) -> tuple[list[Key], list[Key]]:
    """Two variants' students of the same seeds; all where one is the teacher, or they have none in common."""
    common = {key[1] for key in ours} & {key[1] for key in theirs}
    if not common or theirs[0][2] == TEACHER:
        return ours, theirs
    return [key for key in ours if key[1] in common], [key for key in theirs if key[1] in common]


def _samples(
    dataset: str, students: list[MeasuredStudent], teachers: Mapping[str, str]
) -> tuple[NDArray[np.integer], NDArray[np.integer], dict[Key, Sample], dict[str, str]]:
    """What all students of a dataset share, and each of them.

    Returns:
        Labels of the test pairs, which of them are resampled together, every score on them, and which of its
        scores is each variant's best on dev.
    """
    samples: dict[Key, Sample] = {}
    on_dev: dict[str, dict[str, list[float]]] = {}
    first: pl.DataFrame | None = None
    together = np.zeros(0, np.intp)
    for student in students:
        metrics = json.loads((student.folder / "metrics.json").read_text("utf-8"))
        pairs = _test_predictions(student)
        identity = pairs.select("pair_id", "label")
        if first is None:
            first, together = identity, clusters(pairs)
        elif not identity.equals(first):
            raise FlipkdError(
                f"{dataset}: variant {student.variant} has other test pairs than {students[0].variant}; a variant "
                "may change nothing in prepare that changes them: make it a dataset"
            )
        labels = pairs["label"].to_numpy()
        for score in SCORES:
            who, number = (teachers[student.variant], 0) if score == TEACHER else (student.variant, student.seed)
            values = pairs[score].to_numpy()
            threshold = metrics["thresholds"][score]
            samples.setdefault((who, number, score), Sample(labels, values, np.clip(values, 0, 1), threshold, 10))
            if score != TEACHER:
                found = on_dev.setdefault(student.variant, {}).setdefault(score, [])
                found.append(metrics["splits"]["dev"][score]["f1"]["value"])
    chosen = {variant: max(found, key=lambda s: float(np.mean(found[s]))) for variant, found in on_dev.items()}
    return next(iter(samples.values())).labels, together, samples, chosen


def _of(sample: Sample, weights: NDArray[np.integer]) -> Mapping[str, Numbers]:
    """The metrics that need no probability, (resamples,) each."""
    found = weighted_metrics(sample, weights)
    return {metric: values for metric, values in found.items() if metric not in {"brier", "ece"}}


def _interval(values: Numbers) -> dict[str, float]:
    low, high = np.percentile(values, PERCENTILES)
    return {"low": float(low), "high": float(high)}
