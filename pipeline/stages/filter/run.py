"""Stage `filter`: the dual threshold, which decides what the student learns from.

Writes `filtered.parquet`: every row of scores plus `kept`, `reason` and `target`. With t the teacher's score:

- a labelled pair is kept iff it is positive and t >= tau_pos, or negative and t <= tau_neg;
- an unlabelled pair becomes a positive iff t >= tau_accept, else a negative iff t <= tau_reject, else it is
  uncertain and not kept.

A pair at a bound is kept. `target` of a labelled pair is its label, kept or not. Rows of dev and test are decided
too, for whoever looks at them, but only train rows feed the student, and dev and test are measured by `label`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.schema import (
    FILTERED,
    IN_SAMPLE_SCORE,
    ROW_GROUP_ROWS,
    TRUNCATED,
    kept_fields,
    read_metadata,
    with_metadata,
    writer,
)
from pipeline.contract.stage import Context
from pipeline.stages.filter.bounds import find_bound
from pipeline.stages.filter.config import FilterConfig

log = logging.getLogger("flipkd.filter")
CLASSES = {1: "positive", 0: "negative"}
MOST_DROPPED = 0.5
CARRIED = (TRUNCATED, IN_SAMPLE_SCORE)


def run(config: FilterConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Find the bounds, decide every pair, say what was dropped.

    Raises:
        FlipkdError: a bound cannot be found, the bounds of unlabelled pairs cross, or a class is gone from train.
    """
    scores = inputs["score"] / "scores.parquet"
    rows = pl.scan_parquet(scores)
    bounds = find_bounds(config, rows)
    path = out / "filtered.parquet"
    metadata = read_metadata(scores) | {"bounds": bounds, "enabled": config.enabled}
    write(
        apply_bounds(rows, {name: found["bound"] for name, found in bounds.items()}, config.enabled),
        path,
        metadata,
        kept_fields(pq.read_schema(scores)),
    )
    counts = count(pl.scan_parquet(path))
    kept = kept_in_train(pl.scan_parquet(path))
    for target, number in kept.items():
        if number == 0:
            raise FlipkdError(
                f"filter: no {target} pair of train is kept, and the student needs both classes "
                f"({_listed(bounds)}; train: {counts['train']}). Widen the bounds, or give "
                f"train more {target} pairs"
            )
    warnings = dropped_warnings(counts["train"])
    for warning in warnings:
        log.warning("filter: %s", warning)
    return {
        "enabled": config.enabled,
        "bounds": bounds,
        "train_kept": kept,
        "counts": counts,
        "warnings": warnings,
        "note": "only kept rows of train feed the student; dev and test are decided for inspection alone",
    }


def find_bounds(config: FilterConfig, rows: pl.LazyFrame) -> dict[str, dict[str, Any]]:
    """The bounds by name, each with how it was found; those of unlabelled pairs only if there are such pairs.

    Raises:
        FlipkdError: see `pipeline.stages.filter.bounds.find_bound`; or tau_reject > tau_accept.
    """
    labelled = rows.filter(pl.col("label").is_not_null()).select("split", "label", "teacher_score")
    train, dev = (labelled.filter(pl.col("split") == split).collect() for split in ("train", "dev"))
    arrays = {
        "train_scores": train["teacher_score"].to_numpy(),
        "train_labels": train["label"].to_numpy(),
        "dev_scores": dev["teacher_score"].to_numpy(),
        "dev_labels": dev["label"].to_numpy(),
    }
    names = {"tau_pos": True, "tau_neg": False}
    # Without the filter an unlabelled pair is uncertain whatever its score.
    if config.enabled and not rows.filter(pl.col("label").is_null()).limit(1).collect().is_empty():
        names |= {"tau_accept": True, "tau_reject": False}
    bounds = {
        name: find_bound(name, getattr(config, name), positive=positive, **arrays)
        for name, positive in names.items()
    }
    if "tau_accept" in bounds and bounds["tau_reject"]["bound"] > bounds["tau_accept"]["bound"]:
        good = {bounds[name]["by"] for name in ("tau_accept", "tau_reject")} == {"precision"}
        raise FlipkdError(
            f"filter: tau_reject ({bounds['tau_reject']['bound']:g}, by {bounds['tau_reject']['by']}) lies above "
            f"tau_accept ({bounds['tau_accept']['bound']:g}, by {bounds['tau_accept']['by']}), so pairs between "
            "them would be both negative and positive; "
            + (
                "the teacher is better on dev than the precisions asked for: raise them"
                if good
                else "raise tau_accept or lower tau_reject"
            )
        )
    return bounds


def apply_bounds(rows: pl.LazyFrame, bounds: Mapping[str, float], enabled: bool) -> pl.LazyFrame:
    """Add `reason`, `target` and `kept` to rows of scores.

    Args:
        bounds: float32 numbers; without `tau_accept` and `tau_reject` every unlabelled pair is uncertain.
    """
    # The literals are typed: both sides are compared as float32, and each bound is a float32 number.
    limit = {name: pl.lit(bound, pl.Float32) for name, bound in bounds.items()}
    score, label = pl.col("teacher_score"), pl.col("label")
    positive, negative, never = label == 1, label == 0, pl.lit(False)
    applied = pl.lit(enabled)
    pseudo = (
        pl.when(score >= limit["tau_accept"]).then(1).when(score <= limit["tau_reject"]).then(0)
        if "tau_accept" in limit
        else pl.when(never).then(0)
    )
    target = pl.coalesce(label, pseudo).cast(pl.Int8)
    reason = (
        pl.when(applied & positive & (score < limit["tau_pos"]))
        .then(pl.lit("positive_below_bound"))
        .when(applied & negative & (score > limit["tau_neg"]))
        .then(pl.lit("negative_above_bound"))
        .when(target.is_null())
        .then(pl.lit("uncertain"))
        .otherwise(pl.lit("kept"))
    )
    return rows.with_columns(reason=reason, target=target).with_columns(kept=pl.col("reason") == "kept")


def write(rows: pl.LazyFrame, path: Path, metadata: Mapping[str, object], kept: Sequence[pa.Field] = ()) -> None:
    """Write rows as they stream by, under the schema `FILTERED` (Polars' own sink makes every string large).

    The scores' columns `CARRIED` are carried along where they are there.

    Args:
        kept: the user's own columns, which come last.
    """
    there = rows.collect_schema()
    schema = pa.schema([*FILTERED, *(field for field in CARRIED if field.name in there), *kept])
    with writer(path, with_metadata(schema, metadata)) as file:
        for batch in rows.select(schema.names).collect_batches(chunk_size=ROW_GROUP_ROWS, maintain_order=True):
            file.write_table(batch.to_arrow().cast(file.schema), row_group_size=ROW_GROUP_ROWS)


def count(rows: pl.LazyFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Rows by split, class (`positive`, `negative`, `unlabelled`) and what became of them.

    An unlabelled pair that was kept counts as `kept_as_positive` or `kept_as_negative`.
    """
    name = pl.col("label").replace_strict(CLASSES, default="unlabelled", return_dtype=pl.String)
    kept_as = pl.format(
        "kept_as_{}", pl.col("target").replace_strict(CLASSES, default=None, return_dtype=pl.String)
    )
    what = pl.when(pl.col("label").is_null() & pl.col("kept")).then(kept_as).otherwise(pl.col("reason"))
    found = rows.group_by("split", name.alias("class"), what.alias("what")).len().sort("split", "class", "what")
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for split, kind, reason, number in found.collect().iter_rows():
        counts.setdefault(split, {}).setdefault(kind, {})[reason] = number
    return {split: counts.get(split, {}) for split in ("train", "dev", "test")}


def kept_in_train(rows: pl.LazyFrame) -> dict[str, int]:
    """Pairs that feed the student, by target."""
    feeding = rows.filter((pl.col("split") == "train") & pl.col("kept"))
    found = dict(feeding.group_by("target").len().collect().iter_rows())
    return {name: found.get(target, 0) for target, name in CLASSES.items()}


def dropped_warnings(train: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each labelled class of train that loses more than half of its pairs."""
    warnings = []
    for name in CLASSES.values():
        reasons = train.get(name, {})
        total = sum(reasons.values())
        dropped = total - reasons.get("kept", 0)
        if total and dropped / total > MOST_DROPPED:
            warnings.append(
                f"{dropped} of the {total} {name} pairs of train are dropped: the teacher disagrees with most of "
                "their labels. Check the teacher's AUROC and the bounds"
            )
    return warnings


def _listed(bounds: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {found['bound']:.4f} by {found['by']}" for name, found in bounds.items())
