"""Texts with an id as training data of the teacher: pairs of one id, batches in which no id stands twice.

The other texts of such a batch are known to be no matches, so the losses with in-batch negatives
(`training_sets.POSITIVES_ONLY`) see no false negative, and one step of n pairs compares n (n - 1) negatives beside
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler


class LabelledTexts(NamedTuple):
    """n texts, each with the id (intent, FAQ entry) that it belongs to. Texts of one id match, no others do."""

    text: Sequence[str]
    id: Sequence[str]

    def ids(self) -> int:
        """How many ids have two texts or more, so that there is something to learn of them."""
        return len(_members(self.id))


class TextPairs(NamedTuple):
    """Rows of texts that match, in the order of their batches.

    Attributes:
        first, second: rows of the texts, (batches * size,).
        size: pairs of a batch, each of another id.
    """

    first: np.ndarray
    second: np.ndarray
    size: int

    @property
    def batches(self) -> int:
        return len(self.first) // self.size


def text_pairs(texts: LabelledTexts, size: int, epochs: float, seed: int) -> TextPairs:
    """The batches of a whole training.

    A pass pairs the texts of each id by chance, each text once (an odd one with a text that was taken already),
    and packs as many full batches as there can be without an id twice in one. An id with more pairs than the pass
    has batches gives others of them in the next pass.

    Args:
        texts: two ids or more with two texts each.
        size: pairs of a batch; fewer where there are fewer ids.
        epochs: passes, the last one in part.
        seed: decides the pairs and their order.
    """
    members = _members(texts.id)
    size = min(size, len(members))
    batches: list[np.ndarray] = []
    for number in range(math.ceil(epochs)):
        own = _one_pass(members, size, np.random.default_rng((seed, number)))
        share = min(1.0, epochs - number)
        batches += own[: max(1, round(share * len(own)))]
    rows = np.concatenate(batches)
    return TextPairs(rows[:, 0], rows[:, 1], size)


def _members(ids: Sequence[str]) -> list[np.ndarray]:
    """The rows of each id that has two or more, in order of first appearance."""
    grouped = pl.DataFrame({"id": ids}).with_row_index("row").group_by("id", maintain_order=True).agg("row")
    return [rows.to_numpy() for rows in grouped["row"] if len(rows) > 1]


def _one_pass(members: list[np.ndarray], size: int, random: np.random.Generator) -> list[np.ndarray]:
    """Batches of one pass, in random order, each (size, 2) rows."""
    pairs = [_paired(random.permutation(rows)) for rows in members]
    counts = np.array([len(own) for own in pairs])
    # So many batches, and no more, can be filled with no id twice: an id gives one pair to each at most.
    full = int(counts.sum()) // size
    while np.minimum(counts, full).sum() < full * size:
        full -= 1
    left = np.minimum(counts, full)
    batches = []
    for _ in range(full):
        # Whoever has most left goes first, or the last batches would lack ids; chance decides among equals.
        chosen = np.argpartition(-(left + random.random(len(left))), size - 1)[:size]
        left[chosen] -= 1
        batches.append(np.stack([pairs[number][left[number]] for number in chosen]))
    random.shuffle(batches)  # type: ignore[arg-type]  # a list of arrays is shuffled in place
    return batches


def _paired(rows: np.ndarray) -> np.ndarray:
    """Neighbours as pairs, (ceil(n / 2), 2); the last of an odd number stands beside the first."""
    return np.append(rows, rows[: len(rows) % 2]).reshape(-1, 2)


def text_rows(texts: LabelledTexts, pairs: TextPairs) -> Dataset:
    """The pairs as the trainer reads them."""
    return Dataset.from_dict(
        {"anchor": [texts.text[row] for row in pairs.first], "positive": [texts.text[row] for row in pairs.second]}
    )


class InOrder(DefaultBatchSampler):
    """Batches of `size` rows in the order in which they stand."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, *, size: int, **settings: Any) -> None:
        super().__init__(torch.utils.data.SequentialSampler(dataset), size, drop_last, **settings)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        return torch.utils.data.BatchSampler.__iter__(self)
