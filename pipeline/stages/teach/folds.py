"""Scores out of fold: what a teacher says of train's labelled pairs that it was not tuned on.

A teacher that has learnt labels by heart says nothing of them: wrong ones look right, soft targets are hard, and
the filter's bounds are those of another scale than that of new pairs. Train is cut into parts (folds), a teacher
is tuned on all but one of them, as long as the first one was, and scores that part.

What stands in one part as a whole is what was kept together between train and dev: a group, else an id of
utterances where no id stands in both, else a text (the query, of a pair with a catalogue; `text_a` of others). A
text that only stands on the other side of pairs may have been seen, as an entry of a catalogue has.

Writes `out_of_fold.parquet` (`pair_id`, `fold`, `teacher_score`).
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.model_selection import GroupKFold

from data.errors import FlipkdError
from data.schema import OUT_OF_FOLD, write_table
from models.loading.names import FoundModel
from models.teacher.bi_encoder import pair_scores
from models.teacher.sides import NEITHER, sides_of
from models.teacher.training_sets import LabelledPairs
from models.teacher.tuning_texts import LabelledTexts
from pipeline.contract.stage import Context
from pipeline.evaluation.metrics import auroc_by_split
from pipeline.stages.prepare.artifact import catalogue_columns, ids_of_texts
from pipeline.stages.teach.artifact import OUT_OF_FOLD as FILE
from pipeline.stages.teach.artifact import read_combination
from pipeline.stages.teach.ensemble import Member
from pipeline.stages.teach.labels import Labels, as_given, check_classes
from pipeline.stages.teach.member_tuning import tune_member
from pipeline.store.disk import replace_file

log = logging.getLogger("flipkd.teach")


def judge_out_of_fold(
    count: int,
    members: Sequence[Member],
    found: Sequence[FoundModel],
    tuned: Sequence[bool],
    train: Labels,
    dev: LabelledPairs,
    entries: set[str],
    prepared: Path,
    out: Path,
    context: Context,
) -> dict[str, Any]:
    """Tune the teachers of all folds, and write what each says of its own part.

    Args:
        count: folds.
        members, found: the teachers, saved, and where their models lie.
        tuned: which of them were tuned and kept; the others say of train what they say of any pair.
        train, dev: what the teachers were tuned on.
        entries: texts that they read as documents, where they tell queries from documents.

    Returns:
        What `metrics.json` and the summary say of it.

    Raises:
        FlipkdError: train has fewer parts than folds, or a fold leaves too little to tune on.
    """
    rows, of_texts = with_units(prepared)
    rows = rows.with_columns(fold=pl.Series(fold_of(rows["unit"], count, context.seed), dtype=pl.Int8))
    combined = read_combination(out / "teacher")
    shares = [teacher["share"] for teacher in combined["teachers"]] if combined else [1.0]
    scores = np.zeros(rows.height)
    for fold in range(count):
        here = (rows["fold"] == fold).to_numpy()
        own = rows.filter(pl.Series(here))
        rest = without(train, own, of_texts)
        try:
            check_classes(rest, dev, members[0].config.loss)
        except FlipkdError as error:
            raise FlipkdError(f"{error} (teach.folds: what fold {fold} of {count} leaves)") from None
        for member, model, learns, share in zip(members, found, tuned, shares, strict=True):
            title = f"fold {fold + 1} of {count}"
            where = member.checkpoints.with_name(f"{member.checkpoints.name}-fold-{fold}")
            part = replace(member, checkpoints=where)
            scores[here] += share * _scores(part, model, learns, rest, dev, entries, own, context.seed, title)
    judged = pl.DataFrame({"pair_id": rows["pair_id"], "fold": rows["fold"], "teacher_score": scores})
    write_table(judged.cast({"teacher_score": pl.Float32}).to_arrow(), out / FILE, OUT_OF_FOLD)
    auroc = auroc_by_split(rows, scores)["train"]
    log.info("teach: %d pairs of train judged out of fold: AUROC %.3f", rows.height, auroc)
    return {"out_of_fold": {"folds": count, "pairs": rows.height, "auroc": auroc}}


def with_units(prepared: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """The labelled pairs of train, each with the `unit` that stays in one fold.

    Returns:
        `pair_id`, `text_a`, `text_b`, `label`, `split`, `query`, `unit`; and the units of utterances by text,
        empty where they do not go by id.
    """
    sides = catalogue_columns(prepared)
    of_b = [source for source, side in sides.items() if side == "text_a"]
    rows = (
        pl.scan_parquet(prepared / "pairs.parquet")
        .filter(split="train")
        .drop_nulls("label")
        .with_columns(query=pl.when(pl.col("source").is_in(of_b)).then("text_b").otherwise("text_a"))
        .select("pair_id", "text_a", "text_b", "label", "split", "group", "query")
        .collect()
    )
    ids = ids_of_texts(prepared)
    of_texts = {text: f"group {id}" for text, id in ids.items()}  # built pairs are grouped by them
    unit = pl.coalesce(
        pl.format("group {}", "group"),
        pl.col("query").replace_strict(of_texts, default=None, return_dtype=pl.String),
        pl.format("text {}", "query"),
    )
    return rows.with_columns(unit=unit).drop("group"), of_texts


def fold_of(units: pl.Series, count: int, seed: int) -> np.ndarray:
    """The fold of each row, (n,), from 0; folds hold about as many rows each, and a unit as a whole.

    Raises:
        FlipkdError: there are fewer units than folds.
    """
    known = units.n_unique()
    if known < count:
        raise FlipkdError(f"teach.folds: {count} folds take as many groups or texts, and train has {known}")
    folds = np.empty(len(units), np.int8)
    codes = units.rank("dense").to_numpy()
    parts = GroupKFold(count, shuffle=True, random_state=seed % 2**32).split(codes, groups=codes)
    for number, (_, held) in enumerate(parts):
        folds[held] = number
    return folds


def without(train: Labels, held: pl.DataFrame, of_texts: dict[str, str]) -> Labels:
    """What is left of train for the teacher of a fold.

    Args:
        held: the fold's pairs. of_texts: from `with_units`.
    """
    pairs = set(held.select("text_a", "text_b").iter_rows())
    rows = [row for row in zip(*train.pairs, strict=True) if row[:2] not in pairs]
    left = LabelledPairs(*(zip(*rows, strict=True) if rows else ([], [], [], [])))
    if train.texts is None:
        return Labels(left, None)
    queries, units = set(held["query"]), set(held["unit"])
    both = zip(train.texts.text, train.texts.id, strict=True)
    kept = [(text, id) for text, id in both if text not in queries and of_texts.get(text, "") not in units]
    texts = LabelledTexts([text for text, _ in kept], [id for _, id in kept])
    return Labels(left, texts if texts.ids() >= 2 else None)


def _scores(
    member: Member,
    found: FoundModel,
    learns: bool,
    train: Labels,
    dev: LabelledPairs,
    entries: set[str],
    held: pl.DataFrame,
    seed: int,
    title: str,
) -> np.ndarray:
    """A fold's cosines by one teacher, float64 (n,); those that a run before a crash computed are read."""
    done = member.checkpoints.with_suffix(".json")
    if done.is_file():
        return np.array(json.loads(done.read_text(encoding="utf-8")))
    teacher = member.load(found.path if learns else member.folder)
    sides = sides_of(teacher) if entries else NEITHER
    if learns:
        tuned = tune_member(member, teacher, *as_given(train, dev, sides, entries), seed, f"{title}: tuning")
        teacher = member.load(tuned.folder)
    a, b = (sides.given(held[name].to_list(), entries) for name in ("text_a", "text_b"))
    scores = pair_scores(teacher, a, b).astype(np.float64)
    replace_file(done, json.dumps(scores.tolist()))
    shutil.rmtree(member.checkpoints, ignore_errors=True)
    return scores
