"""What a teacher learns from: the labelled pairs of train, and the texts whose ids say what matches."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from data.errors import FlipkdError
from models.teacher.sides import NEITHER, Sides
from models.teacher.training_sets import POSITIVES_ONLY, LabelledPairs
from models.teacher.tuning_texts import LabelledTexts
from pipeline.stages.prepare.artifact import labelled_texts, utterance_sources

log = logging.getLogger("flipkd.teach")


class Labels(NamedTuple):
    """What train knows: pairs, and texts with ids where the teacher learns from them too."""

    pairs: LabelledPairs
    texts: LabelledTexts | None


def all_labels(prepared: Path, pairs: LabelledPairs, loss: str) -> Labels:
    """All that train has labels for: texts by their ids, and the pairs that were not built from such texts.

    Args:
        pairs: all labelled pairs of train; what is learnt from where there are no ids.
        loss: of the pairs. If it cannot learn from the given ones alone, they are left out: matches alone with an
            entry of a catalogue, say, which the texts hold too.
    """
    found = labelled_texts(prepared)
    texts = LabelledTexts(found["text"].to_list(), found["id"].to_list())
    if texts.ids() < 2:
        return Labels(pairs, None)
    given = labelled(prepared / "pairs.parquet", "train", not_of=utterance_sources(prepared))
    if given.label and not _has_classes(given, loss):
        log.info("teach: %s cannot learn from %s, so the texts alone are learnt from", loss, _counts(given))
        given = LabelledPairs([], [], [], [])
    return Labels(given, texts)


def as_given(
    train: Labels, dev: LabelledPairs, sides: Sides, entries: Container[str]
) -> tuple[Labels, LabelledPairs]:
    """What train and dev know, with a teacher's prompts before the texts.

    Args:
        entries: texts that are read as documents.
    """

    def given(pairs: LabelledPairs) -> LabelledPairs:
        a, b = (sides.given(texts, entries) for texts in (pairs.text_a, pairs.text_b))
        return pairs._replace(text_a=a, text_b=b)

    if sides == NEITHER:
        return train, dev
    texts = train.texts and train.texts._replace(text=sides.given(train.texts.text, entries))
    return Labels(given(train.pairs), texts), given(dev)


def labelled(pairs: Path, split: str, not_of: Sequence[str] = ()) -> LabelledPairs:
    """The labelled pairs of a split, in the file's order, but for those of the sources `not_of`."""
    rows = (
        pl.scan_parquet(pairs)
        .filter((pl.col("split") == split) & pl.col("label").is_not_null() & ~pl.col("source").is_in(not_of))
        .select("text_a", "text_b", "label", "group")
        .collect()
    )
    return LabelledPairs(*(rows[name].to_list() for name in rows.columns))


def check_classes(train: Labels, dev: LabelledPairs, loss: str) -> None:
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
    if train.texts is not None or _has_classes(train.pairs, loss):
        return
    if loss in POSITIVES_ONLY:
        raise FlipkdError(
            f"teach: {loss} takes two positives or more; train has {_counts(train.pairs)}. Add pairs, {way_out}"
        )
    raise FlipkdError(
        f"teach: {loss} takes labels 0 and 1 in train, which has {_counts(train.pairs)}. Add pairs, take a loss "
        f"that needs positives alone ({', '.join(sorted(POSITIVES_ONLY))}), {way_out}"
    )


def _has_classes(pairs: LabelledPairs, loss: str) -> bool:
    return sum(pairs.label) >= 2 if loss in POSITIVES_ONLY else set(pairs.label) == {0, 1}


def _counts(pairs: LabelledPairs) -> str:
    positives = sum(pairs.label)
    return f"{positives} positive and {len(pairs.label) - positives} negative labelled pairs"
