"""Several teachers in one artifact of `teach`: which there are, and how their cosines are combined.

They lie in `teacher/0/` (the first), `teacher/1/` and so on, each a sentence-transformers folder, and
`teacher/combination.json` says how `score` makes one vector of theirs (`models.teacher.ensemble`):

    {"combine", "standardised_on": {"split", "pairs"},
     "teachers": [{"folder", "weight", "mean", "deviation", "share"}]}

Mean and deviation are those of a teacher's cosines on all pairs of dev, labelled or not: tuning has driven apart
the cosines of train's pairs, of some teachers more than of others, and what is scored later was not tuned on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sentence_transformers import SentenceTransformer

from data.errors import FlipkdError
from models.teacher.bi_encoder import load_teacher, pair_scores
from models.teacher.ensemble import shares_of, weights_of
from models.teacher.sides import NEITHER, sides_of
from pipeline.stages.teach.artifact import COMBINATION
from pipeline.stages.teach.config import TeachConfig
from pipeline.stages.teach.dev_metrics import metrics_of

log = logging.getLogger("flipkd.teach")
SPLIT = "dev"
LEAST_DEVIATION = 1e-4


@dataclass(frozen=True)
class Member:
    """One of the teachers.

    Attributes:
        section: of the config, for messages.
        config: as if it were the only one.
        folder: to be filled with it.
        checkpoints: scratch space.
    """

    section: str
    config: TeachConfig
    folder: Path
    checkpoints: Path

    def load(self, path: Path) -> SentenceTransformer:
        """The teacher in a folder, with this one's length limit."""
        return load_teacher(
            path,
            trust_remote_code=self.config.trust_remote_code,
            max_length=self.config.max_length,
            trust_key=f"{self.section}.trust_remote_code",
        )


def members_of(config: TeachConfig, folder: Path, work: Path) -> list[Member]:
    """All teachers; one that is alone fills `folder` itself."""
    if not config.others:
        return [Member("teach", config, folder, work / "checkpoints")]
    alone = {"others": []}
    configs = [config.model_copy(update=alone)]
    for other in config.others:
        own = other.model_dump(exclude={"weight"})
        own["tune"] = config.tune if other.tune is None else other.tune
        configs.append(config.model_copy(update=alone | own))
    sections = ["teach", *(f"teach.others.{n}" for n in range(len(config.others)))]
    return [
        Member(section, own, folder / str(n), work / f"checkpoints-{n}")
        for n, (section, own) in enumerate(zip(sections, configs, strict=True))
    ]


def check_labels(config: TeachConfig, labels: Sequence[int]) -> None:
    """Make sure that the teachers can be weighed.

    Args:
        labels: of dev.

    Raises:
        FlipkdError: it takes AUROC, and dev lacks a class.
    """
    if config.others and config.combine == "auroc" and set(labels) != {0, 1}:
        raise FlipkdError(
            "teach.combine: auroc weighs the teachers by AUROC on dev, which takes labels 0 and 1 there; give dev "
            "more labelled pairs (prepare.splitting.dev), or take `combine: mean`"
        )


def dev_pairs(pairs: Path) -> pl.DataFrame:
    """`text_a`, `text_b`, `label` of dev's pairs, those without a label too."""
    rows = pl.scan_parquet(pairs).filter(pl.col("split") == SPLIT)
    return rows.select("text_a", "text_b", "label").collect()


def cosines(teacher: SentenceTransformer, dev: pl.DataFrame, entries: Container[str] = ()) -> np.ndarray:
    """A teacher's cosines of dev's pairs, float64 (n,).

    Args:
        entries: texts that it reads as documents, where it tells queries from documents.
    """
    sides = sides_of(teacher) if entries else NEITHER
    texts = (sides.given(dev[name].to_list(), entries) for name in ("text_a", "text_b"))
    return pair_scores(teacher, *texts).astype(np.float64)


def combination(
    config: TeachConfig, members: Sequence[Member], dev: pl.DataFrame, scores: np.ndarray
) -> dict[str, Any]:
    """How the teachers are combined, as `combination.json` says it.

    Args:
        dev: n pairs.
        scores: the cosines of each of K teachers, (K, n).

    Raises:
        FlipkdError: a teacher's cosines do not vary or are not numbers, or none is better than chance.
    """
    deviations = scores.std(axis=1)
    for member, deviation in zip(members, deviations, strict=True):
        if not deviation > LEAST_DEVIATION:  # also catches NaN
            raise FlipkdError(
                f"{member.section}.model: {member.config.model} gives {dev.height} pairs of dev cosines with a "
                f"standard deviation of {deviation:.1e}, which cannot be standardised: it tells no texts apart. "
                "Take another, or give dev more pairs"
            )
    aurocs = None
    if config.combine == "auroc":
        metrics = [labelled_metrics(dev, row) for row in scores]
        aurocs = [found["auroc"] for found in metrics if found]
    weights = weights_of([1.0, *(other.weight for other in config.others)], aurocs)
    shares = shares_of(weights, deviations)
    columns = zip(members, weights, scores.mean(axis=1), deviations, shares, strict=True)
    return {
        "combine": config.combine,
        "standardised_on": {"split": SPLIT, "pairs": dev.height},
        "teachers": [
            {
                "folder": member.folder.name,
                "weight": float(weight),
                "mean": float(mean),
                "deviation": float(deviation),
                "share": float(share),
            }
            for member, weight, mean, deviation, share in columns
        ],
    }


def combined_metrics(dev: pl.DataFrame, scores: np.ndarray, combined: dict[str, Any]) -> dict[str, float] | None:
    """The combined cosine's metrics on dev; None where dev lacks a class.

    Args:
        scores: the cosines of each of K teachers, (K, n).
        combined: from `combination`.
    """
    return labelled_metrics(dev, np.array([teacher["share"] for teacher in combined["teachers"]]) @ scores)


def labelled_metrics(dev: pl.DataFrame, scores: np.ndarray) -> dict[str, float] | None:
    """`metrics_of` those pairs that have a label; None where a class is missing."""
    known = dev["label"].is_not_null().to_numpy()
    labels = dev["label"].drop_nulls().to_numpy()
    return metrics_of(labels, scores[known]) if set(labels.tolist()) == {0, 1} else None


def write_combination(folder: Path, combined: dict[str, Any]) -> None:
    """Write `combination.json` beside the teachers."""
    (folder / COMBINATION).write_text(json.dumps(combined, indent=2) + "\n", encoding="utf-8")
