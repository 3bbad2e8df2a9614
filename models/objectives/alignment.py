"""L_dist: the student's similarities aligned with the teacher's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.objectives.mse import mse_loss


def alignment_loss(student: Tensor, teacher: Tensor, screened: Tensor, *, temperature: float = 0.05) -> Tensor:
    """KL between the row-wise (and column-wise) softmax of teacher and student, plus the diagonal's squared error.

        rows   = mean over i of sum_j q_ij log(q_ij / p_ij)
                 with q_i = softmax_j(t_ij / tau), p_i = softmax_j(s_ij / tau)
        L_dist = (rows + columns) / 2 + mean over i of (s_ii - t_ii)^2

    where j runs over the diagonal and the screened entries. A row with its diagonal alone adds 0. This project's
    reading of flipped knowledge distillation (Li et al., ACL 2025, arXiv 2507.05617); the divergence of two
    softmaxes over a batch's similarities is SEED's (Fang et al., ICLR 2021, arXiv 2101.04731).

    Args:
        student: s_ij, (n, n), in [-1, 1]. teacher: t_ij, (n, n), in [-1, 1]; no gradient.
        screened: the in-batch negatives, (n, n), bool, from `screen`.
        temperature: tau of both softmaxes.

    Returns:
        A number of 0 or more; 0 iff both agree wherever it looks.

    >>> import torch
    >>> student, teacher = torch.tensor([[0.9, 0.1], [0.2, 0.3]]), torch.tensor([[0.8, 0.0], [0.5, 0.1]])
    >>> alignment_loss(student, teacher, ~torch.eye(2, dtype=torch.bool), temperature=0.5)
    tensor(0.0721)
    """
    used = screened | torch.eye(len(screened), dtype=torch.bool, device=screened.device)
    rows = _divergence(student, teacher, used, temperature)
    columns = _divergence(student.T, teacher.T, used.T, temperature)
    return (rows + columns) / 2 + mse_loss(student, teacher)


def matrix_alignment_loss(student: Tensor, teacher: Tensor, *, temperature: float = 0.05) -> Tensor:
    """L_dist on texts alone: the whole similarity matrix of n distinct texts, without its diagonal.

        mean over i of KL(softmax_j(t_ij / tau) || softmax_j(s_ij / tau)) + mean over i, j of (s_ij - t_ij)^2

    with j != i throughout.

    Args:
        student: cosines of the student's vectors, (n, n), in [-1, 1]. teacher: of the teacher's; no gradient.
        temperature: tau of both softmaxes.

    Returns:
        A number of 0 or more; 0 for one text.

    >>> import torch
    >>> student, teacher = torch.tensor([[1.0, 0.1], [0.1, 1.0]]), torch.tensor([[1.0, 0.3], [0.3, 1.0]])
    >>> matrix_alignment_loss(student, teacher)
    tensor(0.0400)
    """
    others = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    if not others.any():
        return student.sum() * 0
    square = (student - teacher)[others].square().mean()
    return _divergence(student, teacher, others, temperature) + square


def _divergence(student: Tensor, teacher: Tensor, used: Tensor, temperature: float) -> Tensor:
    log_p = (student / temperature).masked_fill(~used, -math.inf).log_softmax(1)
    log_q = (teacher / temperature).masked_fill(~used, -math.inf).log_softmax(1)
    # Where an entry is not used both logarithms are -inf; their difference must not become NaN.
    gap = torch.where(used, log_q - log_p, torch.zeros_like(log_p))
    return (log_q.exp() * gap).sum(1).mean()
