"""Which pairs stand in one batch while the teacher is tuned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler, NoDuplicatesBatchSampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class LengthGroupedBatchSampler(DefaultBatchSampler):
    """Batches of pairs of like length, in random order, each pair once per epoch.

    `group_by_length` of transformers has no effect under sentence-transformers' trainer, which asks its own
    batch sampler; this one takes the grouping from transformers and shuffles the batches, since the grouping
    leaves them sorted from long to short. The longest batch comes first: too little memory shows at once.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        # Characters stand for tokens: padding follows the longer text of the batch on each side.
        pairs = zip(dataset["text_a"], dataset["text_b"], strict=True)
        self.lengths = [len(a) + len(b) for a, b in pairs]

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        if self.drop_last and len(batches[-1]) < self.batch_size:
            batches.pop()
        yield from batches[:1]
        yield from (
            batches[1 + number] for number in torch.randperm(max(len(batches) - 1, 0), generator=generator)
        )


def distinct_batches(
    dataset: Dataset, batch_size: int, *, groups: Sequence[str | None], **settings: Any
) -> NoDuplicatesBatchSampler:
    """Batches for losses that take the other texts of a batch as negatives.

    No text stands twice in a batch, and no group (two positives of one FAQ entry would be each other's false
    negatives), unless there are fewer groups than a batch holds.

    Args:
        dataset: n rows of texts.
        groups: n names; None is a group of its own.
    """
    keys = {"text_a": dataset["text_a"], "text_b": dataset["text_b"]}
    names = [f"row {row}" if name is None else f"group {name}" for row, name in enumerate(groups)]
    if len(set(names)) >= batch_size:
        keys["group"] = names
    return NoDuplicatesBatchSampler(Dataset.from_dict(keys), batch_size, **settings)
