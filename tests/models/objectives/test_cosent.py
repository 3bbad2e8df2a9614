"""CoSENT against loops and against sentence-transformers' own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import CoSENTLoss
from torch.nn import functional

from models.objectives.cosent import cosent_loss
from tests.models.objectives.cases import case


@pytest.mark.parametrize("seed", range(6))
def test_equals_numpy(seed: int):
    batch = case(seed)
    s, _, y, *_ = batch.numpy()
    total = 1.0
    for i in range(len(s)):
        for j in range(len(s)):
            if y[i] < y[j]:
                total += math.exp(20 * (s[i, i] - s[j, j]))
    assert cosent_loss(batch.student, batch.targets).item() == pytest.approx(math.log(total), rel=1e-12)


@pytest.mark.parametrize("labels", [[0, 1, 1, 0, 1], [0.2, 0.9, 0.2, 0.5, 0.0], [1, 1, 1, 1, 1]])
def test_equals_sentence_transformers_with_its_gradient(labels: list[float]):
    a, b = (functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(n))) for n in (0, 1))
    no_model: Any = None
    theirs, ours = a.clone().requires_grad_(), a.clone().requires_grad_()
    expected = CoSENTLoss(no_model).compute_loss_from_embeddings([theirs, b], torch.tensor(labels))
    # Both gradients go through the division by the lengths.
    found = cosent_loss(functional.normalize(ours) @ b.T, torch.tensor(labels))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)
    expected.backward()
    found.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
