"""L_mcl against a second computation in plain NumPy, written from the formulas with arccos."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.objectives.cosent import cosent_loss
from models.objectives.infonce import infonce_loss
from models.objectives.margin import margin_loss, negative_zone, positive_zone
from tests.models.objectives.cases import TAU_NEG, TAU_POS, Case, case, numpy_contrast


def loss(batch: Case, **constants: Any) -> float:
    return margin_loss(
        batch.student, batch.teacher, batch.targets, batch.screened, tau_pos=TAU_POS, tau_neg=TAU_NEG, **constants
    ).item()


def numpy_margin_loss(
    batch: Case, m_pos: float, m_neg: float, tau: float, eps: float = 0.05, kappa: float = 0.5
) -> float:
    """L_mcl by loops, with theta from arccos."""
    s, t, y, _, screened = batch.numpy()
    n = len(s)
    theta = np.arccos(s)
    u = np.clip((t - TAU_POS) / (1 - TAU_POS), 0, 1)
    v = np.clip((TAU_NEG - t) / (TAU_NEG + 1), 0, 1)

    def cosine(angle: float, margin: float) -> float:
        return math.cos(angle + margin) if 0 <= angle + margin <= math.pi else math.cos(angle)

    pos = np.array([cosine(theta[i, i], m_pos * u[i, i]) / tau for i in range(n)])
    neg = np.array([[cosine(theta[i, j], -m_neg * v[i, j]) / tau for j in range(n)] for i in range(n)])
    order = math.log(
        1 + sum(math.exp(neg[m, m] - pos[p]) for p in range(n) for m in range(n) if y[p] == 1 and y[m] == 0)
    )
    hinges = [
        max(0.0, s[j, j] - s[i, i] + kappa * (t[i, i] - t[j, j]))
        for i in range(n)
        for j in range(n)
        if y[i] == y[j] and t[i, i] - t[j, j] > eps
    ]
    return numpy_contrast(pos, neg, y, screened) + order + (sum(hinges) / len(hinges) if hinges else 0.0)


@pytest.mark.parametrize("seed", range(8))
def test_grades_order_pairs_before_the_teacher_does(seed: int):
    batch = case(seed)
    s, t, y, _, _ = batch.numpy()
    n = len(s)
    draw = np.random.default_rng(seed)
    grades = draw.choice([0.0, 1.0, 2.0, math.nan], n)
    hinges = []
    for i in range(n):
        for j in range(n):
            gap = t[i, i] - t[j, j]
            if y[i] != y[j] or i == j:
                continue
            told_apart = not math.isnan(grades[i]) and not math.isnan(grades[j]) and grades[i] != grades[j]
            if told_apart and grades[i] > grades[j]:
                hinges.append(max(0.0, s[j, j] - s[i, i] + 0.5 * max(gap, 0.05)))
            elif not told_apart and gap > 0.05:
                hinges.append(max(0.0, s[j, j] - s[i, i] + 0.5 * gap))
    by_teacher = loss(batch)
    intra = numpy_margin_loss(batch, 0.2, 0.2, 0.05) - numpy_margin_loss(batch, 0.2, 0.2, 0.05, eps=2.0)
    expected = by_teacher - intra + (sum(hinges) / len(hinges) if hinges else 0.0)
    assert loss(batch, grades=torch.from_numpy(grades)) == pytest.approx(expected, rel=1e-9)
    nobody = torch.full((n,), math.nan, dtype=torch.float64)
    assert loss(batch, grades=nobody) == pytest.approx(by_teacher, rel=1e-12)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("m_pos", "m_neg", "tau"), [(0.2, 0.2, 0.05), (1.5, 0.9, 0.5)])
def test_equals_numpy(seed: int, m_pos: float, m_neg: float, tau: float):
    """With large margins too, which some angles have no room for."""
    batch = case(seed)
    ours = loss(batch, m_pos=m_pos, m_neg=m_neg, temperature=tau)
    assert ours == pytest.approx(numpy_margin_loss(batch, m_pos, m_neg, tau), rel=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_zero_margins_reduce_it_to_screened_infonce_and_the_order_of_the_classes(seed: int):
    """epsilon 2 switches the order within a class off; without a labelled negative InfoNCE is left alone."""
    batch = case(seed)
    plain = infonce_loss(batch.student, batch.targets, batch.screened).item()
    between = cosent_loss(batch.student, batch.targets, scale=20).item()
    assert loss(batch, m_pos=0, m_neg=0, epsilon=2.0) == pytest.approx(plain + between, rel=1e-9)
    matches = replace(batch, targets=torch.ones_like(batch.targets))
    alone = infonce_loss(batch.student, matches.targets, batch.screened).item()
    assert loss(matches, m_pos=0, m_neg=0, epsilon=2.0) == pytest.approx(alone, rel=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.floats(-1, 1))
def test_more_teacher_certainty_never_shrinks_a_margin(scores: list[float], bound: float):
    t = torch.tensor(sorted(scores), dtype=torch.float64)
    assert (positive_zone(t, bound, 0.3).diff() >= 0).all()
    assert (negative_zone(t, bound, 0.3).diff() <= 0).all()
    for zone in (positive_zone(t, bound, 0.3), negative_zone(t, bound, 0.3)):
        assert ((zone >= 0) & (zone <= 0.3)).all()


@given(seed=st.integers(0, 1000), more=st.floats(0, 1), positive=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_surer_teacher_never_costs_less(seed: int, more: float, positive: bool):
    """Matches that it finds closer ask for more, and so do others that it finds farther apart; one screen."""
    batch = case(seed)
    roomy = replace(batch, student=batch.student.clamp(math.cos(math.pi - 0.2), math.cos(0.2)))
    matches = torch.diag(batch.targets.double())
    move = more * (matches if positive else matches - 1)
    surer = replace(roomy, teacher=(roomy.teacher + move).clamp(-1, 1))
    assert loss(surer, epsilon=2.0) >= loss(roomy, epsilon=2.0) - 1e-12


def test_pairs_of_a_class_keep_the_teachers_order():
    """Two matches that the teacher tells apart by 0.4: the hinge is 0 once the student keeps half of that."""
    teacher = torch.diag(torch.tensor([0.9, 0.5], dtype=torch.float64))
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    for student, expected in (([0.8, 0.6], 0.0), ([0.8, 0.7], 0.1), ([0.5, 0.7], 0.4)):
        batch = Case(
            torch.diag(torch.tensor(student, dtype=torch.float64)), teacher, torch.ones(2), nothing, nothing
        )
        assert loss(batch) == pytest.approx(expected, abs=1e-12)
    close = replace(batch, teacher=torch.diag(torch.tensor([0.54, 0.5], dtype=torch.float64)))
    assert loss(close) == 0  # closer than epsilon: not ordered


def test_what_the_screen_leaves_out_does_not_count():
    batch = case(3)
    changed = torch.where(batch.screened, batch.student, torch.full_like(batch.student, 0.99))
    changed.diagonal().copy_(batch.student.diagonal())
    assert loss(replace(batch, student=changed)) == loss(batch)
