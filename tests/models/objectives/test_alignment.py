"""L_dist against loops, on pairs and on texts alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.objectives.alignment import alignment_loss, matrix_alignment_loss
from tests.models.objectives.cases import case


def divergence(student: np.ndarray, teacher: np.ndarray, used: list[int], tau: float) -> float:
    """KL of the teacher's softmax to the student's, over some entries of a row."""
    p, q = np.exp(student[used] / tau), np.exp(teacher[used] / tau)
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(q * np.log(q / p)))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_equals_numpy(seed: int, tau: float):
    batch = case(seed)
    s, t, _, _, screened = batch.numpy()
    n, total = len(s), 0.0
    for student, teacher, mask in ((s, t, screened), (s.T, t.T, screened.T)):
        for i in range(n):
            used = [j for j in range(n) if mask[i, j] or i == j]
            total += divergence(student[i], teacher[i], used, tau) / n / 2
    total += float(np.mean((np.diag(s) - np.diag(t)) ** 2))
    ours = alignment_loss(batch.student, batch.teacher, batch.screened, temperature=tau).item()
    assert ours == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_matrix_alignment_equals_numpy(seed: int):
    batch = case(seed)
    s, t, *_ = batch.numpy()
    n, total, squares = len(s), 0.0, []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        total += divergence(s[i], t[i], others, 0.05) / n
        squares += [(s[i, j] - t[i, j]) ** 2 for j in others]
    ours = matrix_alignment_loss(batch.student, batch.teacher, temperature=0.05).item()
    assert ours == pytest.approx(total + float(np.mean(squares)), rel=1e-9)


def test_is_zero_where_student_equals_teacher():
    batch = case(3)
    assert alignment_loss(batch.teacher, batch.teacher, batch.screened).item() == pytest.approx(0, abs=1e-12)
    assert matrix_alignment_loss(batch.teacher, batch.teacher).item() == pytest.approx(0, abs=1e-12)


def test_texts_in_another_order_change_nothing():
    batch, order = case(4), [3, 1, 6, 0, 2, 5, 4]
    moved = batch.moved(order)
    expected = matrix_alignment_loss(batch.student, batch.teacher).item()
    assert matrix_alignment_loss(moved.student, moved.teacher).item() == pytest.approx(expected, rel=1e-12)


def test_matrix_gradients_and_ends():
    batch = case(1, 5)
    student = batch.student.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: matrix_alignment_loss(s, batch.teacher, temperature=0.5), student)
    ends = torch.tensor([[1.0, -1.0, 1.0]]).T @ torch.tensor([[1.0, -1.0, 1.0]])
    extreme = ends.clone().requires_grad_()
    matrix_alignment_loss(extreme, -ends).backward()
    assert extreme.grad is not None
    assert torch.isfinite(extreme.grad).all()


def test_one_text_has_no_others():
    student = torch.ones(1, 1, requires_grad=True)
    loss = matrix_alignment_loss(student, torch.ones(1, 1))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.item() == 0
