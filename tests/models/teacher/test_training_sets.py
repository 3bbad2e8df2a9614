"""What a teacher is tuned on: which rows, with which loss, in how many steps."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import pytest

from models.teacher.training_sets import LabelledPairs, TrainingSets, training_sets
from models.teacher.tuning_batches import LengthGroupedBatchSampler
from models.teacher.tuning_texts import InOrder, LabelledTexts

PAIRS = LabelledPairs(
    [f"a {n}" for n in range(30)], [f"b {n}" for n in range(30)], [n % 2 for n in range(30)], [None] * 30
)
NONE = LabelledPairs([], [], [], [])
TEXTS = LabelledTexts([f"t {n}" for n in range(80)], [f"id {n % 10}" for n in range(80)])


def _sets(pairs: LabelledPairs, texts: LabelledTexts | None, loss: str = "CoSENTLoss") -> TrainingSets:
    return training_sets(pairs, texts, loss=loss, batch_size=8, epochs=1.5, seed=0)


def test_pairs_alone() -> None:
    sets = _sets(PAIRS, None)
    assert (sets.losses, sets.epochs, sets.steps) == ({"pairs": "CoSENTLoss"}, 1.5, 6)
    assert sets.rows["pairs"].column_names == ["text_a", "text_b", "label"]
    assert isinstance(sets.sampler(sets.rows["pairs"], batch_size=8, drop_last=False), LengthGroupedBatchSampler)


def test_positives_alone_where_the_loss_takes_no_others() -> None:
    sets = _sets(PAIRS, None, loss="MultipleNegativesRankingLoss")
    assert sets.rows["pairs"]["text_a"][:] == [f"a {n}" for n in range(1, 30, 2)]
    assert sets.rows["pairs"].column_names == ["text_a", "text_b"]
    assert sets.steps == 3


def test_texts_alone_are_one_list_for_all_passes() -> None:
    sets = _sets(NONE, TEXTS)
    assert list(sets.rows) == ["texts"]
    assert sets.epochs == 1
    assert sets.steps == 7  # 40 pairs in 5 batches a pass, and half of that, rounded to 2
    sampler = sets.sampler(sets.rows["texts"], batch_size=8, drop_last=False)
    assert isinstance(sampler, InOrder)
    assert len(sampler) == sets.steps


@pytest.mark.parametrize("loss", ["CoSENTLoss", "MultipleNegativesRankingLoss"])
def test_pairs_beside_texts_are_as_many_passes(loss: str) -> None:
    sets = _sets(PAIRS, TEXTS, loss=loss)
    pairs = 30 if loss == "CoSENTLoss" else 15
    assert sets.losses == {"pairs": loss, "texts": "MultipleNegativesSymmetricRankingLoss"}
    assert len(sets.rows["pairs"]) == math.ceil(1.5 * pairs)
    asked: dict[str, Any] = {"batch_size": 8, "drop_last": False, "seed": 1}
    samplers = {name: sets.sampler(rows, **asked) for name, rows in sets.rows.items()}
    assert sum(map(len, samplers.values())) == sets.steps
    assert isinstance(samplers["texts"], InOrder)


def test_what_the_trainer_keeps_of_the_sampler_holds_no_text() -> None:
    """It saves its arguments with each checkpoint."""
    sets = _sets(PAIRS, TEXTS)
    file = io.BytesIO()
    pickle.dump(sets.sampler, file)
    assert b"t 3" not in file.getvalue()
