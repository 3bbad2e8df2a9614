"""Batches of texts by id: what a loss with in-batch negatives relies on."""

from __future__ import annotations

import numpy as np
import pytest

from models.teacher.tuning_texts import InOrder, LabelledTexts, text_pairs, text_rows


def _texts(sizes: list[int], seed: int = 0) -> LabelledTexts:
    """So many texts of each id, in random order."""
    ids = np.random.default_rng(seed).permutation([f"id {n}" for n, size in enumerate(sizes) for _ in range(size)])
    return LabelledTexts([f"text {row} of {name}" for row, name in enumerate(ids)], ids.tolist())


@pytest.mark.parametrize("sizes", [[5] * 40, [90, 2, 2, 2, 3, 7], list(range(1, 60)), [2, 2]])
@pytest.mark.parametrize("size", [2, 8, 32])
def test_a_batch_holds_matches_of_as_many_ids_as_it_has_rows(sizes: list[int], size: int) -> None:
    texts = _texts(sizes)
    pairs = text_pairs(texts, size, 2.5, seed=3)
    ids = np.array(texts.id)
    assert (ids[pairs.first] == ids[pairs.second]).all()
    assert (pairs.first != pairs.second).all()
    assert pairs.size == min(size, sum(n > 1 for n in sizes))
    assert len(pairs.first) == pairs.batches * pairs.size > 0
    for batch in ids[pairs.first].reshape(-1, pairs.size):
        assert len(set(batch)) == pairs.size


def test_a_pass_takes_every_text_once_where_ids_are_even() -> None:
    texts = _texts([6] * 16)
    pairs = text_pairs(texts, 8, 2, seed=3)
    assert pairs.batches == 2 * 16 * 3 / 8
    for begin in (0, 48):
        own = slice(begin, begin + 48)
        assert sorted([*pairs.first[own], *pairs.second[own]]) == list(range(96))
    # Other pairs in the second pass, the same ones for the same seed, others for another.
    sets = [
        {frozenset(p) for p in zip(pairs.first[k], pairs.second[k], strict=True)}
        for k in (slice(48), slice(48, 96))
    ]
    assert len(sets[0] & sets[1]) < 40
    again, other = (text_pairs(texts, 8, 2, seed=seed) for seed in (3, 4))
    assert np.array_equal(pairs.first, again.first)
    assert not np.array_equal(pairs.first, other.first)


def test_a_large_id_gives_what_the_others_can_stand_beside() -> None:
    """90 texts of one id beside 20 of ten others: it stands in every batch, once."""
    texts = _texts([90, *[2] * 10])
    pairs = text_pairs(texts, 4, 1, seed=0)
    ids = np.array(texts.id)[pairs.first].reshape(-1, 4)
    assert len(ids) == 3
    assert ((ids == "id 0").sum(axis=1) == 1).all()


def test_a_part_of_a_pass_is_a_part_of_its_batches() -> None:
    texts = _texts([6] * 16)
    assert [text_pairs(texts, 8, epochs, seed=3).batches for epochs in (0.01, 0.5, 1, 2.5)] == [1, 3, 6, 15]


def test_ids_with_one_text_teach_nothing() -> None:
    assert _texts([1, 1, 3, 2]).ids() == 2


def test_the_trainer_gets_the_batches_in_their_order() -> None:
    texts = _texts([6] * 16)
    pairs = text_pairs(texts, 8, 2, seed=3)
    rows = text_rows(texts, pairs)
    assert rows["anchor"][:] == [texts.text[row] for row in pairs.first]
    assert rows["positive"][:] == [texts.text[row] for row in pairs.second]
    sampler = InOrder(rows, 32, False, size=pairs.size, seed=1)
    assert len(sampler) == pairs.batches == 12
    sampler.set_epoch(1)
    assert [row for batch in sampler for row in batch] == list(range(96))
    assert {len(batch) for batch in sampler} == {8}
