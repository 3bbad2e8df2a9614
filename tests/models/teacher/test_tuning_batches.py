from __future__ import annotations

import numpy as np
from datasets import Dataset

from models.teacher.tuning_batches import LengthGroupedBatchSampler, distinct_batches


def _rows(count: int) -> Dataset:
    texts = ["x" * length for length in np.random.default_rng(0).integers(1, 400, count)]
    return Dataset.from_dict({"text_a": texts, "text_b": texts[::-1]})


def _batches(sampler: LengthGroupedBatchSampler, epoch: int = 0) -> list[list[int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_pair_once_per_epoch_and_the_promised_number_of_batches() -> None:
    sampler = LengthGroupedBatchSampler(_rows(1003), 16, drop_last=False, seed=3)
    batches = _batches(sampler)
    assert len(batches) == len(sampler) == 63
    assert sorted(n for batch in batches for n in batch) == list(range(1003))
    assert {len(batch) for batch in batches} == {16, 1003 % 16}


def test_batches_hold_pairs_of_like_length() -> None:
    sampler = LengthGroupedBatchSampler(_rows(1600), 16, drop_last=False)
    padding = []
    for batch in _batches(sampler):
        lengths = [sampler.lengths[n] for n in batch]
        padding.append(1 - sum(lengths) / (len(lengths) * max(lengths)))
    assert sum(padding) / len(padding) < 0.1
    drawn = np.random.default_rng(1).choice(sampler.lengths, 16)
    assert 1 - drawn.mean() / drawn.max() > 0.2


def test_order_depends_on_seed_and_epoch_alone() -> None:
    rows = _rows(200)
    sampler = LengthGroupedBatchSampler(rows, 8, drop_last=False, seed=3)
    first, second = _batches(sampler, 0), _batches(sampler, 1)
    assert first != second
    again = LengthGroupedBatchSampler(rows, 8, drop_last=False, seed=3)
    assert _batches(again, 1) == second
    assert _batches(again, 0) == first
    # Not sorted by length all through, which would make the gradient drift.
    lengths = [sum(sampler.lengths[n] for n in batch) for batch in first]
    assert lengths != sorted(lengths, reverse=True)


def test_drop_last() -> None:
    sampler = LengthGroupedBatchSampler(_rows(35), 8, drop_last=True)
    assert [len(batch) for batch in sampler] == [8] * 4 == [8] * len(sampler)


def test_fewer_pairs_than_a_batch() -> None:
    assert sorted(next(iter(LengthGroupedBatchSampler(_rows(3), 8, drop_last=False)))) == [0, 1, 2]


def test_no_group_and_no_text_stands_twice_in_a_distinct_batch() -> None:
    texts = [f"text {n}" for n in range(100)]
    rows = Dataset.from_dict(
        {"text_a": texts, "text_b": ["shared" if n < 10 else f"other {n}" for n in range(100)]}
    )
    groups = [None if n % 10 == 0 else f"faq {n % 9}" for n in range(100)]
    for batch in distinct_batches(rows, 8, groups=groups, drop_last=False, seed=0):
        named = [groups[n] for n in batch if groups[n] is not None]
        assert len(named) == len(set(named))
        assert sum(n < 10 for n in batch) <= 1


def test_distinct_batches_look_at_texts_alone_where_groups_are_few() -> None:
    rows = Dataset.from_dict({"text_a": [f"a {n}" for n in range(32)], "text_b": [f"b {n}" for n in range(32)]})
    batches = list(distinct_batches(rows, 8, groups=["one"] * 32, drop_last=False, seed=0))
    assert [len(batch) for batch in batches] == [8] * 4
