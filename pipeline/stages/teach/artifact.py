"""The reading side of `teach`: what a later stage may ask of its artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from sentence_transformers import SentenceTransformer

from models.teacher.bi_encoder import load_teacher

COMBINATION = "combination.json"
OUT_OF_FOLD = "out_of_fold.parquet"


class Saved(NamedTuple):
    """A teacher in an artifact: its folder, what `metrics.json` says of it, its share of the combined cosine."""

    folder: Path
    metadata: dict[str, Any]
    share: float


def saved_teachers(teach: Path) -> list[Saved]:
    """The teachers of an artifact of `teach`, in their order; a teacher that is alone has the share 1."""
    metrics = json.loads((teach / "metrics.json").read_text(encoding="utf-8"))
    combined = read_combination(teach / "teacher")
    if combined is None:
        return [Saved(teach / "teacher", metrics["teacher"], 1.0)]
    return [
        Saved(teach / "teacher" / entry["folder"], own["teacher"], entry["share"])
        for own, entry in zip(metrics["teachers"], combined["teachers"], strict=True)
    ]


def teachers_of(teach: Path) -> Iterator[tuple[SentenceTransformer, float]]:
    """The teachers of an artifact of `teach`, loaded one by one, each with its share.

    The combined teacher's cosine of two texts is the sum of the teachers' cosines, each times its share.
    """
    for saved in saved_teachers(teach):
        yield load_teacher(saved.folder, trust_remote_code=saved.metadata["trust_remote_code"]), saved.share


def read_combination(folder: Path) -> dict[str, Any] | None:
    """What `write_combination` wrote; None where the folder is one teacher."""
    file = folder / COMBINATION
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def out_of_fold(teach: Path) -> pl.DataFrame | None:
    """`pair_id`, `fold`, `teacher_score` of the pairs that were judged out of fold; None without `teach.folds`."""
    file = teach / OUT_OF_FOLD
    return pl.read_parquet(file) if file.is_file() else None
