"""What a teacher is tuned on: labelled pairs, texts with ids, or both, each with its loss and its batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets

from models.teacher.tuning_batches import LengthGroupedBatchSampler, distinct_batches
from models.teacher.tuning_texts import InOrder, LabelledTexts, text_pairs, text_rows

# These take positives alone: the other texts of the batch are their negatives, so no text may stand there twice.
POSITIVES_ONLY = frozenset({"MultipleNegativesRankingLoss", "MultipleNegativesSymmetricRankingLoss"})
# Of texts with ids; docs/RESULTS.md says beside which others it was chosen on dev.
TEXTS_LOSS = "MultipleNegativesSymmetricRankingLoss"


class LabelledPairs(NamedTuple):
    """n pairs of texts with labels 0 and 1, and the group (FAQ id, question) that each belongs to, if any."""

    text_a: Sequence[str]
    text_b: Sequence[str]
    label: Sequence[int]
    group: Sequence[str | None]


@dataclass(frozen=True)
class TrainingSets:
    """Rows for sentence-transformers' trainer.

    Attributes:
        rows: by a name; one or two sets of rows.
        losses: by the same names, a class of `sentence_transformers.losses`.
        sampler: makes the batches of one of the sets, as the trainer asks for them.
        epochs: passes over the rows. steps: of the whole training.
        device_batch_size: pairs per step of one device.
    """

    rows: dict[str, Dataset]
    losses: dict[str, str]
    sampler: Callable[..., Any]
    epochs: float
    steps: int
    device_batch_size: int


def training_sets(
    pairs: LabelledPairs,
    texts: LabelledTexts | None,
    *,
    loss: str,
    batch_size: int,
    epochs: float,
    seed: int,
) -> TrainingSets:
    """Pairs for `loss`, texts for `TEXTS_LOSS`; where there are both, their steps come in random order.

    Args:
        pairs: positives alone are used by the losses in `POSITIVES_ONLY`; may be empty where there are texts.
        texts: two ids or more with two texts each, or None.
        batch_size: pairs per step. epochs: passes over either. seed: decides which texts are paired.
    """
    devices = max(1, torch.cuda.device_count())
    device_batch_size = math.ceil(batch_size / devices)
    batch_size = device_batch_size * devices
    rows: dict[str, Dataset] = {}
    losses: dict[str, str] = {}
    samplers: dict[str, Callable[..., Any]] = {}
    steps = 0
    named = _rows_of_pairs(pairs, loss)
    if len(named):
        steps = step_count(len(named), batch_size, epochs)
        if texts is not None:  # the texts of all passes are one list, so the pairs' too
            named = concatenate_datasets([named] * math.ceil(epochs)).select(range(math.ceil(len(named) * epochs)))
            steps = math.ceil(len(named) / batch_size)
        rows["pairs"] = named.remove_columns("group" if loss not in POSITIVES_ONLY else ["group", "label"])
        losses["pairs"] = loss
        distinct = partial(distinct_batches, groups=list(named["group"]))
        samplers["text_a"] = distinct if loss in POSITIVES_ONLY else LengthGroupedBatchSampler
    if texts is not None:
        paired = text_pairs(texts, batch_size, epochs, seed)
        rows["texts"], losses["texts"] = text_rows(texts, paired), TEXTS_LOSS
        samplers["anchor"] = partial(InOrder, size=paired.size)
        steps, epochs = steps + paired.batches, 1
    # The trainer saves its arguments with each checkpoint, so the sampler must be picklable.
    return TrainingSets(rows, losses, partial(_sampler, by_column=samplers), epochs, steps, device_batch_size)


def _sampler(dataset: Dataset, *, by_column: dict[str, Callable[..., Any]], **settings: Any) -> Any:
    """The trainer asks for a sampler by the rows alone; the first column says whose they are."""
    return by_column[dataset.column_names[0]](dataset, **settings)


def step_count(pairs: int, batch_size: int, epochs: float) -> int:
    """Optimiser steps of a run over pairs alone."""
    return max(1, math.ceil(epochs * math.ceil(pairs / batch_size)))


def _rows_of_pairs(pairs: LabelledPairs, loss: str) -> Dataset:
    """The rows that a loss learns from: all, or the positives."""
    rows = Dataset.from_dict(pairs._asdict())
    return rows.select(np.flatnonzero(np.asarray(pairs.label) == 1)) if loss in POSITIVES_ONLY else rows
