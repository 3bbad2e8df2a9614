"""How far tonight's data lie from those behind the student in use: four measures, each with a limit.

Compared are the artifacts of `prepare` and `score` of a run with those that the promoted export was made from, or
the one that `drift.baseline` names:

    teacher_scores   Kolmogorov-Smirnov distance of the pairs' teacher scores
    text_lengths     the same of the lengths in characters of both texts of each pair
    rejected         difference of the shares of raw rows that `prepare` rejected
    label_rate       difference of the shares of positives among the labelled pairs

All are between 0 and 1; `pipeline.drift.measures` says how they are judged, and what chance does to few rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.drift.measures import Measure, Verdict, distributions, shares
from pipeline.runner.plan import Step
from pipeline.store.manifest import Manifest
from pipeline.store.store import Store, file_problem

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

log = logging.getLogger("flipkd.drift")
FILES = {"prepare": "pairs.parquet", "score": "scores.parquet"}


@dataclass(frozen=True)
class DriftReport:
    """Two runs compared.

    Attributes:
        in_use: the key of the promoted export, or of the one that `drift.baseline` names.
        tonight, before: the keys of prepare, teach and score, by stage.
        teachers_differ: then scores may have moved without the data.
        fixed: the config names the export.
    """

    in_use: str
    tonight: dict[str, str]
    before: dict[str, str]
    teachers_differ: bool
    measures: tuple[Measure, ...]
    fixed: bool = False

    @property
    def compared(self) -> str:
        """What tonight is compared with."""
        return "the baseline" if self.fixed else "the student in use"

    def passed(self, verdict: Verdict) -> list[Measure]:
        """The measures with a verdict."""
        return [measure for measure in self.measures if measure.verdict == verdict]


class CannotMeasure(FlipkdError):
    """What stands behind the student in use is not there or is damaged, so there is nothing to compare with."""


def check_drift(config: Config, store: Store, steps: Sequence[Step]) -> DriftReport | None:
    """Measure, warn, and stop a run whose data moved too far. Call it when `filter` is done.

    Args:
        steps: of this run's plan; its artifacts of prepare and score must be there.

    Returns:
        None where nothing is compared: drift is off, no student is in use, the plan ends before `score`, or what
        stands behind the student in use is no longer there (a warning says so).

    Raises:
        FlipkdError: a measure lies above its `stop`, and the plan goes on to train a student.
    """
    try:
        report = measure_drift(config, store, steps)
    except CannotMeasure as error:
        log.warning("%s", error)
        return None
    if report is None:
        return None
    for measure in report.passed("warn"):
        log.warning("drift: %s; the warning limit is %s", in_words(measure, report), measure.warn)
    if report.teachers_differ:
        log.info(
            "drift: tonight's teacher is another one than that of %s: its scores may differ by that",
            report.compared,
        )
    stopped = report.passed("stop")
    if stopped:
        message = stop_message(report, stopped, config.promote.called)
        if any(step.stage == "distill" for step in steps):
            raise FlipkdError(message)
        log.warning("%s", message)
    elif not report.passed("warn"):
        log.info("drift: within the limits against %s (%s)", report.compared, report.in_use)
    return report


def measure_drift(config: Config, store: Store, steps: Sequence[Step]) -> DriftReport | None:
    """`check_drift` that only measures: nothing is logged, and no stop is raised.

    Returns:
        None where drift is off, no student is in use, or the plan ends before `score`.

    Raises:
        CannotMeasure: what stands behind the student in use is not there or is damaged.
        FlipkdError: this run's own artifacts of prepare and score are not there or are damaged.
    """
    from pipeline.promotion.link import in_use

    keys = {step.stage: step.key for step in steps}
    if not config.drift.enabled or "score" not in keys:
        return None
    fixed = config.drift.baseline
    try:
        export = in_use(store, config.promote.called) if fixed == "in_use" else fixed
        if export is None:
            return None
        before = store.manifest("export", export).inputs
        old = {stage: _checked(store, stage, before.get(stage)) for stage in FILES}
    except FlipkdError as error:
        raise CannotMeasure(
            f"drift cannot be measured against the run in use: {error}. Promote a student whose artifacts are all "
            "in the store, or set drift.enabled to false"
            if fixed == "in_use"
            else f"drift cannot be measured against drift.baseline: {error}. Give the key of an export whose "
            "artifacts are all in the store (`flipkd promoted` names those that were in use)"
        ) from None
    new = {stage: _checked(store, stage, keys[stage]) for stage in FILES}
    measures = _measures(config, store, new, old)
    names = ("prepare", "teach", "score")
    return DriftReport(
        in_use=export,
        tonight={name: keys[name] for name in names},
        before={name: before.get(name, "") for name in names},
        teachers_differ=_teacher(store, new["score"]) != _teacher(store, old["score"]),
        measures=tuple(measures),
        fixed=fixed != "in_use",
    )


def in_words(measure: Measure, report: DriftReport) -> str:
    """A measure in words: both values, the distance, the run in use."""
    distance = "not measured" if measure.distance is None else f"{measure.distance:.3f}"
    before = "baseline" if report.fixed else "run in use"
    return (
        f"{measure.what}: {_number(measure.tonight)} tonight, {_number(measure.in_use)} in the {before} "
        f"({report.in_use}), distance {distance}"
    )


def stop_message(report: DriftReport, stopped: Sequence[Measure], name: str) -> str:
    """What is too far, by how much, and what to do."""
    lines = [f"  {in_words(measure, report)}; drift.{measure.name}.stop is {measure.stop}" for measure in stopped]
    limits = " or ".join(f"drift.{measure.name}.stop" for measure in stopped)
    teacher = (
        " The two runs have different teachers, so their scores may differ by that alone."
        if report.teachers_differ
        else ""
    )
    return "\n".join(
        [
            f"drift: tonight's data lie too far from those behind {report.compared}",
            *lines,
            "Look at the rows (`flipkd scores show CONFIG`; rejects.parquet of "
            f"prepare/{report.tonight['prepare']}).{teacher} If they are right, raise {limits}, or give "
            "`--set drift.enabled=false` for one run. If the student in use is another project's, give this "
            f"config a name of its own (`promote.name`; it is {name})",
        ]
    )


# ---------------------------------------------------------------------------------------------- measuring


def _checked(store: Store, stage: str, key: str | None) -> Manifest:
    """The manifest of an artifact whose file of rows is as it was written."""
    if key is None:
        raise FlipkdError(f"its manifest names no {stage}")
    manifest, name = store.manifest(stage, key), FILES[stage]
    entry = manifest.files.get(name)
    problem = file_problem(store.path(stage, key) / name, name, entry) if entry else f"it has no {name}"
    if problem:
        raise FlipkdError(f"the artifact {stage}/{key} is damaged: {problem}")
    return manifest


def _teacher(store: Store, score: Manifest) -> Any:
    """The teacher's files by digest; its key where its artifact is gone."""
    key = score.inputs["teach"]
    try:
        files = store.manifest("teach", key).files
    except FlipkdError:
        return key
    return {name: entry.sha256 for name, entry in files.items() if name.startswith("teacher/")}


def _measures(config: Config, store: Store, new: dict[str, Manifest], old: dict[str, Manifest]) -> list[Measure]:
    drift = config.drift
    scores = [_scores(_rows(store, manifests["score"])) for manifests in (new, old)]
    lengths = [_lengths(_rows(store, manifests["prepare"])) for manifests in (new, old)]
    rejected = [_rejected(manifests["prepare"]) for manifests in (new, old)]
    labels = [_positives(_rows(store, manifests["prepare"])) for manifests in (new, old)]
    return [
        distributions("teacher_scores", "teacher scores (median)", drift.teacher_scores, *scores),
        distributions("text_lengths", "text lengths in characters (median)", drift.text_lengths, *lengths),
        shares("rejected", "share of rejected rows", drift.rejected, *rejected),
        shares("label_rate", "share of positives among the labelled pairs", drift.label_rate, *labels),
    ]


def _rows(store: Store, manifest: Manifest) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_parquet(_file(store, manifest))


def _file(store: Store, manifest: Manifest) -> Path:
    return store.path(manifest.stage, manifest.key) / FILES[manifest.stage]


def _scores(rows: pl.LazyFrame) -> np.ndarray:
    return rows.select("teacher_score").collect()["teacher_score"].to_numpy()


def _lengths(rows: pl.LazyFrame) -> np.ndarray:
    import polars as pl

    both = [rows.select(characters=pl.col(side).str.len_chars()) for side in ("text_a", "text_b")]
    return pl.concat(both).collect()["characters"].to_numpy()


def _rejected(manifest: Manifest) -> tuple[int, int]:
    rows = manifest.summary["rows"]
    return rows["rejected"], rows["read"]


def _positives(rows: pl.LazyFrame) -> tuple[int, int]:
    import polars as pl

    label = pl.col("label")
    return rows.select((label == 1).sum(), label.count().alias("all")).collect().row(0)


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
