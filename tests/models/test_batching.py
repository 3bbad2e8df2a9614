from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.batching import length_batches


@given(st.lists(st.integers(1, 300), min_size=1, max_size=400), st.integers(2, 16), st.integers(0, 3))
def test_every_item_once_and_no_lone_one(lengths: list[int], size: int, epoch: int):
    batches = length_batches(lengths, size, seed=7, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert len(lengths) == 1 or min(map(len, batches)) > 1
    again = length_batches(lengths, size, seed=7, epoch=epoch)
    assert [b.tolist() for b in batches] == [b.tolist() for b in again]


def test_batches_of_like_length_waste_little():
    lengths = np.random.default_rng(0).gamma(2, 20, 4000).astype(int) + 1
    batches = length_batches(lengths.tolist(), 16, seed=0, epoch=0)
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert lengths.sum() / padded > 0.85
    random = np.split(np.random.default_rng(0).permutation(4000), 250)
    assert lengths.sum() / sum(len(b) * lengths[b].max() for b in random) < 0.5


def test_epochs_differ():
    first, second = (length_batches([5] * 64, 8, seed=1, epoch=e) for e in (0, 1))
    assert [b.tolist() for b in first] != [b.tolist() for b in second]
