"""Shifted angles against arccos, and finite slopes where arccos has none."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.objectives.angle import angle, rotated_cosine, shifted_cosine


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(st.floats(-1, 1), st.floats(0, math.pi / 2))
def test_shifted_cosine_is_the_cosine_of_the_shifted_angle(cosine: float, margin: float):
    # Within 1e-3 of +-1 the sine is held at its floor: that is the price of a finite gradient.
    theta = math.acos(cosine)
    for m in (margin, -margin):
        expected = math.cos(theta + m) if 0 <= theta + m <= math.pi else cosine
        assert shifted_cosine(number(cosine), m).item() == pytest.approx(expected, abs=2e-3)


@given(st.floats(-0.9, 0.9), st.floats(-math.pi, math.pi))
def test_rotated_cosine_keeps_its_margin_past_the_ends(cosine: float, margin: float):
    expected = math.cos(math.acos(cosine) + margin)
    assert rotated_cosine(number(cosine), margin).item() == pytest.approx(expected, abs=1e-12)


@given(st.floats(-1, 1), st.floats(0, math.pi / 2))
def test_a_margin_never_helps(cosine: float, margin: float):
    """A positive's cosine is never raised by its margin, nor a negative's lowered, beyond the sine's floor."""
    assert shifted_cosine(number(cosine), margin) <= cosine + 2e-3
    assert shifted_cosine(number(cosine), -margin) >= cosine - 2e-3


@pytest.mark.parametrize("cosine", [-1.0, 1.0, 1 + 1e-7, -1 - 1e-7])
@pytest.mark.parametrize("margin", [0.0, 0.2, -0.2, 3.0])
def test_slopes_are_finite_at_the_ends(cosine: float, margin: float):
    value = number(cosine).requires_grad_()
    shifted_cosine(value, margin).backward()
    assert value.grad is not None
    assert abs(value.grad.item()) <= 1


def test_angle_takes_no_part_in_the_gradient():
    value = number(0.5).requires_grad_()
    assert not angle(value).requires_grad
    assert angle(value).item() == pytest.approx(math.pi / 3)
