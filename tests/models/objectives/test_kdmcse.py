"""AdapACSE against loops with arccos, and what its margin and its mask do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.objectives.infonce import infonce_loss
from models.objectives.kdmcse import kdmcse_loss
from tests.models.objectives.cases import Case, case, numpy_contrast


def loss(batch: Case, margin: float = 0.125) -> float:
    return kdmcse_loss(batch.student, batch.teacher, batch.targets, batch.screened, margin=margin).item()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("margin", [0.125, 1.2])
def test_equals_numpy(seed: int, margin: float):
    """At 1.2 rad the gate is closed for many, and some shifted angles go below zero."""
    batch = case(seed)
    s, t, y, _, screened = batch.numpy()
    theta = np.arccos(s)
    moved = np.where(theta > margin, np.cos(theta - (1 - t) * margin), np.cos(theta))
    expected = numpy_contrast(s.diagonal() / 0.05, moved / 0.05, y, screened)
    assert loss(batch, margin) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_no_margin_or_a_teacher_that_sees_no_difference_is_screened_infonce(seed: int):
    batch = case(seed)
    plain = infonce_loss(batch.student, batch.targets, batch.screened).item()
    assert loss(batch, 0) == pytest.approx(plain, rel=1e-12)
    assert loss(replace(batch, teacher=torch.ones_like(batch.teacher))) == pytest.approx(plain, rel=1e-12)


@given(seed=st.integers(0, 1000), lower=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_surer_teacher_never_costs_less(seed: int, lower: float):
    batch = case(seed)
    apart = replace(batch, student=batch.student.clamp(max=math.cos(2 * 0.125)))
    surer = replace(apart, teacher=(apart.teacher - lower).clamp(min=-1))
    assert loss(surer) >= loss(apart) - 1e-12


def test_what_the_screen_leaves_out_does_not_count():
    batch = case(3)
    changed = torch.where(batch.screened, batch.student, torch.full_like(batch.student, 0.99))
    changed.diagonal().copy_(batch.student.diagonal())
    assert loss(replace(batch, student=changed)) == loss(batch)
