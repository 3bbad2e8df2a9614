"""Stage `teach`: the teacher, tuned on the labelled pairs of train or taken as it is; or several of them.

Writes `teacher/`, a sentence-transformers folder, and `metrics.json`:

    {"teacher": {"identity", "tuned", "kept", "trust_remote_code", "pooling", "max_length", "dtype", ...},
     "pairs": {"train", "dev"},
     "dev": {"untouched": {metric: value}, "tuned": {metric: value}},    # null where not measured
     "evaluations": [{"step", "auroc"}]}

With `teach.others`, `teacher/` holds a folder for each (`pipeline.stages.teach.ensemble`), and `metrics.json`:

    {"teachers": [the above, for each],
     "combination": as in `teacher/combination.json`,
     "dev": {"untouched": {metric: value}, "combined": {metric: value}}}  # combined before tuning, and after
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sentence_transformers import SentenceTransformer

from data.errors import FlipkdError
from models.loading.names import FoundModel, find_model
from models.runtime.quiet import quiet
from models.teacher.bi_encoder import bring_code, describe
from models.teacher.tuning import (
    POSITIVES_ONLY,
    LabelledPairs,
    Tuned,
    last_checkpoint,
    step_count,
    training_rows,
    tune,
)
from pipeline.contract.stage import Context
from pipeline.stages.teach import ensemble as several
from pipeline.stages.teach.config import TeachConfig
from pipeline.stages.teach.dev_metrics import dev_metrics
from pipeline.stages.teach.ensemble import Member
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.teach")
METRICS = "metrics.json"
Metrics = dict[str, Any]


def run(config: TeachConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Tune or take the teacher; the better of untouched and tuned, by dev AUROC, becomes the artifact.

    Raises:
        FlipkdError: a model cannot be loaded, train or dev cannot be tuned on, or teachers cannot be combined.
    """
    members = several.members_of(config, out / "teacher", context.work)
    found = [find_model(member.config.model) for member in members]
    pairs = inputs["prepare"] / "pairs.parquet"
    train, dev = (labelled(pairs, split) for split in ("train", "dev"))
    for member in members:
        if member.config.tune:
            check_classes(train, dev, config.loss)
    several.check_labels(config, dev.label)
    results = [teach(*each, train, dev, context.seed) for each in zip(members, found, strict=True)]
    metrics, summary = results[0]
    if config.others:
        metrics, summary = _combine(config, members, found, results, several.dev_pairs(pairs))
    (out / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return summary


def teach(
    member: Member, found: FoundModel, train: LabelledPairs, dev: LabelledPairs, seed: int
) -> tuple[Metrics, Metrics]:
    """Tune or take one teacher and save it.

    Returns:
        What `metrics.json` and the summary say of it.
    """
    config = member.config
    teacher = member.load(found.path)
    untouched = dev_metrics(teacher, dev)
    tuned, best = None, None
    if config.tune:
        tuned = _tune(member, teacher, train, dev, seed)
        bring_code(tuned.folder)
        teacher = member.load(tuned.folder)
        best = dev_metrics(teacher, dev)
    worse = bool(untouched and best and best["auroc"] < untouched["auroc"])
    if worse:
        log.warning(
            "teach: TUNING MADE THE TEACHER WORSE on dev (AUROC %.4f untouched, %.4f at its best checkpoint); the "
            "untouched teacher is kept. Try a lower teach.learning_rate, another teach.loss, or more pairs.",
            untouched["auroc"] if untouched else np.nan,
            best["auroc"] if best else np.nan,
        )
        teacher = member.load(found.path)
    save(teacher, member.folder)
    kept = "tuned" if tuned and not worse else "untouched"
    metrics = {
        "teacher": {
            "identity": found.identity,
            "tuned": config.tune,
            "kept": kept,
            "trust_remote_code": config.trust_remote_code,
            **describe(teacher),
        },
        "pairs": {"train": len(train.label), "dev": len(dev.label)},
        "dev": {"untouched": untouched, "tuned": best},
        "evaluations": tuned.evaluations if tuned else [],
    }
    summary = {
        "model": config.model,
        "kept": kept,
        "worse_after_tuning": worse,
        "train_pairs": len(train.label),
        "dev_pairs": len(dev.label),
        "dev_untouched": untouched,
        "dev_tuned": best,
        "best_step": tuned.step if tuned else None,
        "resumed_from_step": tuned.resumed_from if tuned else None,
        "matrix_precision": tuned.matrix_precision if tuned else None,
    }
    return metrics, summary


def _combine(
    config: TeachConfig,
    members: Sequence[Member],
    found: Sequence[FoundModel],
    results: Sequence[tuple[Metrics, Metrics]],
    dev: pl.DataFrame,
) -> tuple[Metrics, Metrics]:
    """Weigh the saved teachers against each other, and write how they are combined.

    Returns:
        `metrics.json` and the summary: the first teacher's with `others`, the others' own, and the combination.
    """
    after = np.array([several.cosines(member.load(member.folder), dev) for member in members])
    before = after.copy()
    for n, (_, summary) in enumerate(results):
        if summary["kept"] == "tuned":
            before[n] = several.cosines(members[n].load(found[n].path), dev)
    combination = several.combination(config, members, dev, after)
    several.write_combination(members[0].folder.parent, combination)
    for member, entry in zip(members, combination["teachers"], strict=True):
        log.info("teach: %s (%s) has the weight %.3f", member.section, member.config.model, entry["weight"])
    try:
        untouched = several.combined_metrics(dev, before, several.combination(config, members, dev, before))
    except FlipkdError:  # before tuning they could not have been combined
        untouched = None
    combined = several.combined_metrics(dev, after, combination)
    all_metrics, summaries = zip(*results, strict=True)
    metrics = {
        "teachers": list(all_metrics),
        "combination": combination,
        "dev": {"untouched": untouched, "combined": combined},
    }
    summary = {
        **summaries[0],
        "others": list(summaries[1:]),
        "combination": combination,
        "dev_combined_untouched": untouched,
        "dev_combined": combined,
    }
    return metrics, summary


def labelled(pairs: Path, split: str) -> LabelledPairs:
    """The labelled pairs of a split, in the file's order."""
    rows = (
        pl.scan_parquet(pairs)
        .filter((pl.col("split") == split) & pl.col("label").is_not_null())
        .select("text_a", "text_b", "label", "group")
        .collect()
    )
    return LabelledPairs(*(rows[name].to_list() for name in rows.columns))


def check_classes(train: LabelledPairs, dev: LabelledPairs, loss: str) -> None:
    """Make sure that train has what the loss learns from, and dev what AUROC is measured on.

    Raises:
        FlipkdError: a class is missing.
    """
    way_out = "or set teach.tune to false"
    if set(dev.label) != {0, 1}:
        raise FlipkdError(
            f"teach: tuning picks the best checkpoint by AUROC on dev, which takes labels 0 and 1; dev has "
            f"{_counts(dev)}. Give dev more pairs (prepare.splitting.dev), {way_out}"
        )
    if loss in POSITIVES_ONLY:
        if sum(train.label) < 2:
            raise FlipkdError(
                f"teach: {loss} takes two positives or more; train has {_counts(train)}. Add pairs, {way_out}"
            )
    elif set(train.label) != {0, 1}:
        raise FlipkdError(
            f"teach: {loss} takes labels 0 and 1 in train, which has {_counts(train)}. Add pairs, take a loss "
            f"that needs positives alone ({', '.join(sorted(POSITIVES_ONLY))}), {way_out}"
        )


def _counts(pairs: LabelledPairs) -> str:
    positives = sum(pairs.label)
    return f"{positives} positive and {len(pairs.label) - positives} negative labelled pairs"


def save(teacher: SentenceTransformer, folder: Path) -> None:
    """Write the teacher as safetensors, without the model card (it names paths and versions of this machine).

    A teacher that is loaded from what was written here and written again gives the same bytes, so that a frozen
    teacher (`teach.tune: false`) is seen to be the same one (`pipeline.stages.score.embedding_cache`).
    """
    # A fast tokenizer keeps how the last call cut and padded, and would write that too; every call says it anew.
    fast = getattr(getattr(teacher, "tokenizer", None), "backend_tokenizer", None)
    if fast is not None:
        fast.no_truncation()
        fast.no_padding()
    with quiet():
        teacher.save_pretrained(str(folder), create_model_card=False)
    bring_code(folder)


def _tune(
    member: Member, teacher: SentenceTransformer, train: LabelledPairs, dev: LabelledPairs, seed: int
) -> Tuned:
    config, folder = member.config, member.checkpoints
    found = last_checkpoint(folder)
    if found:
        log.info("teach: going on from step %d of a run that was cut off", found[1])
    total = step_count(len(training_rows(train, config.loss)), config.batch_size, config.epochs)
    with progress("tuning the teacher", total - (found[1] if found else 0)) as advance:
        return tune(
            teacher,
            train,
            dev,
            loss=config.loss,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            warmup_ratio=config.warmup_ratio,
            weight_decay=config.weight_decay,
            evaluations=config.evaluations,
            checkpoint_minutes=config.checkpoint_minutes,
            seed=seed,
            folder=folder,
            advance=advance,
        )
