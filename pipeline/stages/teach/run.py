"""Stage `teach`: the teacher, tuned on all that train has labels for or taken as it is; or several of them.

It costs a fraction of what the student costs, so it learns from every label (`teach.learns_from`): from all
utterances by their ids, not only from the pairs that were built of them for the student.

Writes `teacher/`, a sentence-transformers folder, and `metrics.json`:

    {"teacher": {"identity", "tuned", "kept", "trust_remote_code", "pooling", "max_length", "dtype", ...},
     "pairs": {"train", "dev"}, "texts": {"train", "ids"},    # texts only where it was tuned on them
     "dev": {"untouched": {metric: value}, "tuned": {metric: value}},    # null where not measured
     "evaluations": [{"step", "auroc"}]}

With `teach.folds`, `out_of_fold.parquet` says what teachers that were not tuned on them think of train's labelled
pairs (`pipeline.stages.teach.folds`), and `metrics.json` has `"out_of_fold": {"folds", "pairs", "auroc"}`.

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
from models.teacher.sides import NEITHER, sides_of
from models.teacher.training_sets import LabelledPairs
from pipeline.contract.stage import Context
from pipeline.stages.prepare.artifact import entry_texts
from pipeline.stages.teach import ensemble as several
from pipeline.stages.teach.config import TeachConfig
from pipeline.stages.teach.dev_metrics import dev_metrics
from pipeline.stages.teach.ensemble import Member
from pipeline.stages.teach.folds import judge_out_of_fold
from pipeline.stages.teach.labels import Labels, all_labels, as_given, check_classes, labelled
from pipeline.stages.teach.member_tuning import tune_member

log = logging.getLogger("flipkd.teach")
NEAR_CHANCE = 0.65  # of AUROC
LITTLE_GAIN = 0.005
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
    dev = labelled(pairs, "dev")
    train = Labels(labelled(pairs, "train"), None)
    if any(member.config.tune for member in members):
        if config.learns_from == "all":
            train = all_labels(inputs["prepare"], train.pairs, config.loss)
        check_classes(train, dev, config.loss)
    several.check_labels(config, dev.label)
    entries = entry_texts(inputs["prepare"]) if config.prompts == "sides" else set()
    results = [teach(*each, train, dev, entries, context.seed) for each in zip(members, found, strict=True)]
    metrics, summary = results[0]
    if config.others:
        metrics, summary = _combine(config, members, found, results, several.dev_pairs(pairs), entries)
    if config.folds and any(own["kept"] == "tuned" for _, own in results):
        tuned = [own["kept"] == "tuned" for _, own in results]
        judged = judge_out_of_fold(
            config.folds, members, found, tuned, train, dev, entries, inputs["prepare"], out, context
        )
        metrics, summary = metrics | judged, summary | judged
    (out / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return summary


def teach(
    member: Member, found: FoundModel, train: Labels, dev: LabelledPairs, entries: set[str], seed: int
) -> tuple[Metrics, Metrics]:
    """Tune or take one teacher and save it.

    Args:
        entries: texts that it reads as documents, where it tells queries from documents.

    Returns:
        What `metrics.json` and the summary say of it.
    """
    config = member.config
    teacher = member.load(found.path)
    sides = sides_of(teacher) if entries else NEITHER
    train, dev = as_given(train, dev, sides, entries)
    untouched = dev_metrics(teacher, dev)
    tuned, best = None, None
    if config.tune:
        tuned = tune_member(member, teacher, train, dev, seed)
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
    warn_if_poor(config.model, untouched, None if worse else best)
    save(teacher, member.folder)
    texts = {"train": len(train.texts.text), "ids": train.texts.ids()} if train.texts else {}
    kept = "tuned" if tuned and not worse else "untouched"
    metrics = {
        "teacher": {
            "identity": found.identity,
            "tuned": config.tune,
            "kept": kept,
            "trust_remote_code": config.trust_remote_code,
            **describe(teacher),
            **({"sides": sides._asdict()} if sides != NEITHER else {}),
        },
        "pairs": {"train": len(train.pairs.label), "dev": len(dev.label)},
        **({"texts": texts} if texts else {}),
        "dev": {"untouched": untouched, "tuned": best},
        "evaluations": tuned.evaluations if tuned else [],
    }
    summary = {
        "model": config.model,
        "kept": kept,
        "worse_after_tuning": worse,
        "train_pairs": len(train.pairs.label),
        **({"train_texts": texts["train"], "train_ids": texts["ids"]} if texts else {}),
        "dev_pairs": len(dev.label),
        "dev_untouched": untouched,
        "dev_tuned": best,
        "best_step": tuned.step if tuned else None,
        "resumed_from_step": tuned.resumed_from if tuned else None,
        "matrix_precision": tuned.matrix_precision if tuned else None,
    }
    return metrics, summary


def warn_if_poor(model: str, untouched: Metrics | None, tuned: Metrics | None) -> None:
    """Say aloud that there is little to learn from a teacher.

    Args:
        model: its name. untouched, tuned: its metrics on dev; None where it was not measured, or is not kept.
    """
    kept = tuned or untouched
    if kept and kept["auroc"] < NEAR_CHANCE:
        log.warning(
            "teach: THE TEACHER IS NEAR CHANCE on dev (%s: AUROC %.3f, and 0.5 is a coin): a student can learn "
            "little from it. Does it read the language of these texts? Take another teach.model, or more labels.",
            model, kept["auroc"],
        )  # fmt: skip
    elif tuned and untouched and tuned["auroc"] < untouched["auroc"] + LITTLE_GAIN:
        log.warning(
            "teach: tuning gained next to nothing on dev (%s: AUROC %.3f untouched, %.3f tuned)",
            model, untouched["auroc"], tuned["auroc"],
        )  # fmt: skip


def _combine(
    config: TeachConfig,
    members: Sequence[Member],
    found: Sequence[FoundModel],
    results: Sequence[tuple[Metrics, Metrics]],
    dev: pl.DataFrame,
    entries: set[str],
) -> tuple[Metrics, Metrics]:
    """Weigh the saved teachers against each other, and write how they are combined.

    Returns:
        `metrics.json` and the summary: the first teacher's with `others`, the others' own, and the combination.
    """
    after = np.array([several.cosines(member.load(member.folder), dev, entries) for member in members])
    before = after.copy()
    for n, (_, summary) in enumerate(results):
        if summary["kept"] == "tuned":
            before[n] = several.cosines(members[n].load(found[n].path), dev, entries)
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
