"""Stage `teach`: the teacher, tuned on the labelled pairs of train or taken as it is.

Writes `teacher/`, a sentence-transformers folder, and `metrics.json`:

    {"teacher": {"identity", "tuned", "kept", "trust_remote_code", "pooling", "max_length", "dtype", ...},
     "pairs": {"train", "dev"},
     "dev": {"untouched": {metric: value}, "tuned": {metric: value}},    # null where not measured
     "evaluations": [{"step", "auroc"}]}
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sentence_transformers import SentenceTransformer
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from data.errors import FlipkdError
from models.names import find_model
from models.quiet import quiet
from models.teacher import bring_code, describe, load_teacher, pair_scores
from models.tuning import (
    POSITIVES_ONLY,
    LabelledPairs,
    Tuned,
    last_checkpoint,
    step_count,
    training_rows,
    tune,
)
from pipeline.config import TeachConfig
from pipeline.metrics import choose_threshold
from pipeline.progress import progress
from pipeline.stages import Context

log = logging.getLogger("flipkd.teach")
METRICS = "metrics.json"


def run(config: TeachConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Tune or take the teacher; the better of untouched and tuned, by dev AUROC, becomes the artifact.

    Raises:
        FlipkdError: the model cannot be loaded, or train or dev cannot be tuned on.
    """
    found = find_model(config.model)
    train, dev = (labelled(inputs["prepare"] / "pairs.parquet", split) for split in ("train", "dev"))
    if config.tune:
        check_classes(train, dev, config.loss)
    teacher = load(config, found.path)
    untouched = dev_metrics(teacher, dev)
    tuned, best = None, None
    if config.tune:
        tuned = _tune(config, teacher, train, dev, context)
        bring_code(tuned.folder)
        teacher = load(config, tuned.folder)
        best = dev_metrics(teacher, dev)
    worse = bool(untouched and best and best["auroc"] < untouched["auroc"])
    if worse:
        log.warning(
            "teach: TUNING MADE THE TEACHER WORSE on dev (AUROC %.4f untouched, %.4f at its best checkpoint); the "
            "untouched teacher is kept. Try a lower teach.learning_rate, another teach.loss, or more pairs.",
            untouched["auroc"] if untouched else np.nan,
            best["auroc"] if best else np.nan,
        )
        teacher = load(config, found.path)
    save(teacher, out / "teacher")
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
    (out / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return {
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


def load(config: TeachConfig, path: Path) -> SentenceTransformer:
    """The teacher in a folder, with the config's length limit."""
    return load_teacher(path, trust_remote_code=config.trust_remote_code, max_length=config.max_length)


def save(teacher: SentenceTransformer, folder: Path) -> None:
    """Write the teacher as safetensors, without the model card (it names paths and versions of this machine).

    A teacher that is loaded from what was written here and written again gives the same bytes, so that a frozen
    teacher (`teach.tune: false`) is seen to be the same one (`pipeline.embedding_cache`).
    """
    # A fast tokenizer keeps how the last call cut and padded, and would write that too; every call says it anew.
    fast = getattr(getattr(teacher, "tokenizer", None), "backend_tokenizer", None)
    if fast is not None:
        fast.no_truncation()
        fast.no_padding()
    with quiet():
        teacher.save_pretrained(str(folder), create_model_card=False)
    bring_code(folder)


def dev_metrics(teacher: SentenceTransformer, dev: LabelledPairs) -> dict[str, float] | None:
    """AUROC, average precision, and F1 and accuracy at the threshold with the best F1.

    Returns:
        None where dev lacks a class, since AUROC is not defined there.

    Raises:
        FlipkdError: a score is not a number.
    """
    if set(dev.label) != {0, 1}:
        return None
    labels = np.asarray(dev.label)
    scores = pair_scores(teacher, dev.text_a, dev.text_b)
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


def _tune(
    config: TeachConfig, teacher: SentenceTransformer, train: LabelledPairs, dev: LabelledPairs, context: Context
) -> Tuned:
    folder = context.work / "checkpoints"
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
            seed=context.seed,
            folder=folder,
            advance=advance,
        )
