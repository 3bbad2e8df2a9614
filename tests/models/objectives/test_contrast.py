"""Symmetric InfoNCE against loops and against torch's cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from models.objectives.contrast import contrast, log_one_plus_sum_exp
from tests.models.objectives.cases import case, numpy_contrast


@pytest.mark.parametrize("seed", range(6))
def test_equals_numpy(seed: int):
    batch = case(seed)
    s, t, y, negatives, _ = batch.numpy()
    ours = contrast(3 * batch.teacher.diagonal(), 4 * batch.student, batch.targets, batch.negatives)
    assert ours.item() == pytest.approx(numpy_contrast(3 * t.diagonal(), 4 * s, y, negatives), rel=1e-12)


def test_is_cross_entropy_both_ways_where_all_match():
    logits = 20 * case(1).student
    others = ~torch.eye(7, dtype=torch.bool)
    places = torch.arange(7)
    expected = (functional.cross_entropy(logits, places) + functional.cross_entropy(logits.T, places)) / 2
    found = contrast(logits.diagonal(), logits, torch.ones(7), others)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_log_one_plus_sum_exp():
    values = torch.tensor([[-math.inf, 0.0], [-math.inf, -math.inf], [1000.0, 0.0]])
    assert log_one_plus_sum_exp(values).tolist() == pytest.approx([math.log(2), 0.0, 1000.0])
    assert log_one_plus_sum_exp(values[:0]).shape == (0,)
    assert log_one_plus_sum_exp(values[:, :0]).tolist() == [0, 0, 0]
