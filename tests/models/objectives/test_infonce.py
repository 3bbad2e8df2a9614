"""InfoNCE against loops, and against the library that knows it as a ranking loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn import functional

from models.objectives.infonce import infonce_loss
from tests.models.objectives.cases import case, numpy_contrast


@pytest.mark.parametrize("seed", range(6))
def test_equals_numpy(seed: int):
    batch = case(seed)
    s, _, y, negatives, _ = batch.numpy()
    ours = infonce_loss(batch.student, batch.targets, batch.negatives, temperature=0.05).item()
    assert ours == pytest.approx(numpy_contrast(s.diagonal() / 0.05, s / 0.05, y, negatives), rel=1e-9)


def test_equals_sentence_transformers_where_all_match():
    a, b = (functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(n))) for n in (0, 1))
    no_model: Any = None
    ranking, unused = MultipleNegativesRankingLoss(no_model, scale=20.0), torch.empty(0)
    rows, columns = (ranking.compute_loss_from_embeddings(x, unused).item() for x in ([a, b], [b, a]))
    ours = infonce_loss(a @ b.T, torch.ones(6), ~torch.eye(6, dtype=torch.bool), temperature=0.05).item()
    assert ours == pytest.approx((rows + columns) / 2, rel=1e-5)


def test_texts_of_other_pairs_are_negatives_and_known_partners_are_not():
    student = torch.full((2, 2), 0.5)
    alone = torch.zeros(2, 2, dtype=torch.bool)
    assert infonce_loss(student, torch.tensor([1, 0]), alone).item() == 0
    against = torch.tensor([[False, True], [False, False]])
    # The match's row holds one other text that is just as close, its column none.
    assert infonce_loss(student, torch.tensor([1, 0]), against).item() == pytest.approx(0.5 * 0.693147, rel=1e-5)
