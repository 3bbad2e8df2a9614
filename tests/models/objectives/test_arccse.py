"""ArcCSE's pairwise loss against loops with arccos."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.objectives.arccse import arccse_loss
from models.objectives.infonce import infonce_loss
from tests.models.objectives.cases import case, numpy_contrast


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("margin", [0.17, 1.2])
def test_equals_numpy(seed: int, margin: float):
    batch = case(seed)
    s, _, y, negatives, _ = batch.numpy()
    theta = np.arccos(s.diagonal())
    moved = [math.cos(a + margin) if a + margin <= math.pi else math.cos(a) for a in theta]
    ours = arccse_loss(batch.student, batch.targets, batch.negatives, margin=margin, temperature=0.05).item()
    assert ours == pytest.approx(numpy_contrast(np.array(moved) / 0.05, s / 0.05, y, negatives), rel=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_no_margin_is_infonce_and_a_margin_costs(seed: int):
    batch = case(seed)
    plain = infonce_loss(batch.student, batch.targets, batch.negatives).item()
    losses = [arccse_loss(batch.student, batch.targets, batch.negatives, margin=m).item() for m in (0, 0.1, 0.3)]
    assert losses[0] == pytest.approx(plain, rel=1e-12)
    # Past pi a margin is dropped; 0.3 from there a larger one would not cost more.
    if batch.student.diagonal().min() > math.cos(math.pi - 0.3):
        assert losses == sorted(losses)
