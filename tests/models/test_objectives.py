"""The objectives against a second computation in plain NumPy, written from the formulas with arccos."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from models.objectives.alignment import alignment_loss, matrix_alignment_loss
from models.objectives.answer import answer_loss
from models.objectives.margin import margin_loss, negative_zone, positive_zone, shifted_cosine
from models.objectives.screen import known_together, screen

TAU_POS, TAU_NEG = 0.4, 0.6


def unit_rows(random: np.random.Generator, n: int, width: int = 6) -> np.ndarray:
    rows = random.normal(size=(n, width)) + 0.5
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def batch(seed: int, n: int = 7) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    student = unit_rows(random, n) @ unit_rows(random, n).T
    teacher = unit_rows(random, n) @ unit_rows(random, n).T
    targets = torch.from_numpy(random.integers(0, 2, n))
    teacher_t = torch.from_numpy(teacher)
    same = torch.zeros(n, n, dtype=torch.bool)
    return {
        "student": torch.from_numpy(student),
        "teacher": teacher_t,
        "targets": targets,
        "screened": screen(teacher_t, TAU_NEG, same),
    }


def numpy_margin_loss(
    s: np.ndarray,
    t: np.ndarray,
    y: np.ndarray,
    screened: np.ndarray,
    m_pos: float = 0.2,
    m_neg: float = 0.2,
    tau: float = 0.05,
    eps: float = 0.05,
    kappa: float = 0.5,
) -> float:
    """L_mcl by loops, with theta from arccos."""
    n = len(s)
    theta = np.arccos(np.clip(s, -1, 1))
    u = np.clip((t - TAU_POS) / (1 - TAU_POS), 0, 1)
    v = np.clip((TAU_NEG - t) / (TAU_NEG + 1), 0, 1)

    def cosine(angle: float, margin: float) -> float:
        return math.cos(angle + margin) if 0 <= angle + margin <= math.pi else math.cos(angle)

    pos = [cosine(theta[i, i], m_pos * u[i, i]) / tau for i in range(n)]
    neg = [[cosine(theta[i, j], -m_neg * v[i, j]) / tau for j in range(n)] for i in range(n)]
    inter = []
    for i in range(n):
        if y[i] == 1:
            for others in (
                [neg[i][j] for j in range(n) if screened[i, j]],
                [neg[j][i] for j in range(n) if screened[j, i]],
            ):
                inter.append(math.log(1 + sum(math.exp(o - pos[i]) for o in others)))
    info_nce = sum(inter) / len(inter) if inter else 0.0
    order = math.log(
        1 + sum(math.exp(neg[m][m] - pos[p]) for p in range(n) for m in range(n) if y[p] == 1 and y[m] == 0)
    )
    hinges = [
        max(0.0, s[j, j] - s[i, i] + kappa * (t[i, i] - t[j, j]))
        for i in range(n)
        for j in range(n)
        if y[i] == y[j] and t[i, i] - t[j, j] > eps
    ]
    return info_nce + order + (sum(hinges) / len(hinges) if hinges else 0.0)


def numpy_alignment_loss(s: np.ndarray, t: np.ndarray, screened: np.ndarray, tau: float = 0.05) -> float:
    total = 0.0
    n = len(s)
    for student, teacher, mask in ((s, t, screened), (s.T, t.T, screened.T)):
        for i in range(n):
            used = [j for j in range(n) if mask[i, j] or i == j]
            p = np.exp(student[i, used] / tau)
            q = np.exp(teacher[i, used] / tau)
            p, q = p / p.sum(), q / q.sum()
            total += float(np.sum(q * np.log(q / p))) / n / 2
    return total + float(np.mean((np.diag(s) - np.diag(t)) ** 2))


@pytest.mark.parametrize("seed", range(12))
def test_margin_loss_equals_numpy(seed: int):
    b = batch(seed)
    ours = margin_loss(**b, tau_pos=TAU_POS, tau_neg=TAU_NEG).item()
    s, t, y, screened = (b[k].numpy() for k in ("student", "teacher", "targets", "screened"))
    theirs = numpy_margin_loss(s, t, y, screened)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_alignment_loss_equals_numpy(seed: int):
    b = batch(seed)
    ours = alignment_loss(b["student"], b["teacher"], b["screened"]).item()
    s, t, screened = (b[k].numpy() for k in ("student", "teacher", "screened"))
    theirs = numpy_alignment_loss(s, t, screened)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_matrix_alignment_loss_equals_numpy(seed: int):
    random = np.random.default_rng(seed)
    n, tau = 7, 0.05
    s, t = (rows @ rows.T for rows in (unit_rows(random, n), unit_rows(random, n)))
    total, squares = 0.0, []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        p, q = np.exp(s[i, others] / tau), np.exp(t[i, others] / tau)
        p, q = p / p.sum(), q / q.sum()
        total += float(np.sum(q * np.log(q / p))) / n
        squares += [(s[i, j] - t[i, j]) ** 2 for j in others]
    ours = matrix_alignment_loss(torch.from_numpy(s), torch.from_numpy(t), temperature=tau).item()
    assert ours == pytest.approx(total + float(np.mean(squares)), rel=1e-9)
    assert matrix_alignment_loss(torch.ones(1, 1), torch.ones(1, 1)).item() == 0  # one text has no others


def test_alignment_is_zero_where_student_equals_teacher():
    b = batch(3)
    assert alignment_loss(b["teacher"], b["teacher"], b["screened"]).item() == pytest.approx(0, abs=1e-12)


def test_answer_loss_equals_numpy():
    random = np.random.default_rng(0)
    logits, y = random.normal(size=(10, 2)), random.integers(0, 2, 5)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -np.mean([log_p[i, y[i % 5]] for i in range(10)])
    assert answer_loss(torch.from_numpy(logits), torch.from_numpy(y)).item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_gradients(seed: int):
    """Through the similarities as they come from vectors, so that no entry leaves [-1, 1]."""
    random = np.random.default_rng(seed)
    b = batch(seed, 5)
    z = torch.from_numpy(np.stack([unit_rows(random, 5), unit_rows(random, 5)])).requires_grad_()

    def similarity(vectors: Tensor) -> Tensor:
        a, c = torch.nn.functional.normalize(vectors, dim=2)
        return a @ c.T

    def margin(vectors: Tensor) -> Tensor:
        rest = {name: value for name, value in b.items() if name != "student"}
        return margin_loss(similarity(vectors), **rest, tau_pos=TAU_POS, tau_neg=TAU_NEG, temperature=0.5)

    def align(vectors: Tensor) -> Tensor:
        return alignment_loss(similarity(vectors), b["teacher"], b["screened"], temperature=0.5)

    assert torch.autograd.gradcheck(margin, z)
    assert torch.autograd.gradcheck(align, z)


def test_zero_margins_reduce_the_inter_class_part_to_screened_info_nce():
    b = batch(1)
    b["targets"] = torch.ones_like(b["targets"])  # no labelled negative: no order between classes
    ours = margin_loss(**b, tau_pos=TAU_POS, tau_neg=TAU_NEG, m_pos=0, m_neg=0, epsilon=2.0)
    logits = (b["student"] / 0.05).masked_fill(~(b["screened"] | torch.eye(7, dtype=torch.bool)), -math.inf)
    labels = torch.arange(7)
    cross_entropy = torch.nn.functional.cross_entropy
    assert ours.item() == pytest.approx(
        ((cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2).item()
    )


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_more_teacher_certainty_never_shrinks_a_margin(scores: list[float]):
    t = torch.tensor(sorted(scores), dtype=torch.float64)
    assert (positive_zone(t, TAU_POS, 0.3).diff() >= 0).all()
    assert (negative_zone(t, TAU_NEG, 0.3).diff() <= 0).all()
    for zone in (positive_zone(t, TAU_POS, 0.3), negative_zone(t, TAU_NEG, 0.3)):
        assert ((zone >= 0) & (zone <= 0.3)).all()


@given(st.floats(-1, 1), st.floats(0, math.pi / 2))
def test_shifted_cosine_is_the_cosine_of_the_shifted_angle(cosine: float, margin: float):
    # Within 1e-3 of +-1 the sine is held at its floor: that is the price of a finite gradient.
    theta = math.acos(cosine)
    for m in (margin, -margin):
        expected = math.cos(theta + m) if 0 <= theta + m <= math.pi else cosine
        found = shifted_cosine(torch.tensor(cosine, dtype=torch.float64), m).item()
        assert found == pytest.approx(expected, abs=2e-3)


@given(hnp.arrays(np.float64, (4, 4), elements=st.sampled_from([-1.0, 1.0, 0.0, 1 - 1e-9, -1 + 1e-9])))
@settings(max_examples=40)
def test_extreme_cosines_give_finite_losses_and_gradients(values: np.ndarray):
    student = torch.from_numpy(values).requires_grad_()
    b = batch(0, 4)
    loss = margin_loss(student, b["teacher"], b["targets"], b["screened"], tau_pos=TAU_POS, tau_neg=TAU_NEG)
    (loss + alignment_loss(student, b["teacher"], b["screened"])).backward()
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("targets", [[0], [1], [0, 0, 0], [1, 1, 1]])
def test_a_batch_with_one_class_or_one_pair_is_defined(targets: list[int]):
    b = batch(5, len(targets))
    b["targets"] = torch.tensor(targets)
    student = b.pop("student").requires_grad_()
    loss = margin_loss(student, **b, tau_pos=TAU_POS, tau_neg=TAU_NEG)
    loss = loss + alignment_loss(student, b["teacher"], b["screened"])
    loss.backward()
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@given(st.permutations(range(7)), st.integers(0, 5))
def test_permuting_the_batch_changes_nothing(order: list[int], seed: int):
    b = batch(seed)
    moved = {k: v[order][:, order] if v.dim() == 2 else v[order] for k, v in b.items()}
    for loss in (
        lambda x: margin_loss(**x, tau_pos=TAU_POS, tau_neg=TAU_NEG),
        lambda x: alignment_loss(x["student"], x["teacher"], x["screened"]),
    ):
        assert loss(moved).item() == pytest.approx(loss(b).item(), rel=1e-9)


def test_the_screen_removes_exactly_what_it_should():
    teacher = torch.tensor([[0.9, 0.5, 0.1], [0.61, 0.9, 0.2], [0.6, 0.3, 0.9]])
    # texts: pair 0 = (10, 20) a match, pair 1 = (11, 10), pair 2 = (12, 22); text 10 stands in two pairs
    same = known_together([10, 11, 12], [20, 10, 22], [1, 0, 0])
    assert same.tolist() == [[True, True, False], [False, False, False], [False, False, False]]
    expected = [[False, False, True], [False, False, True], [True, True, False]]
    assert screen(teacher, 0.6, same).tolist() == expected


def test_partners_of_a_match_are_known_together_in_both_directions():
    same = known_together([1, 2], [2, 1], [1, 0])
    assert same.tolist() == [[True, True], [True, True]]
