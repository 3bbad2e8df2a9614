"""Baseline `mse`: the student's similarity of every pair drawn to the teacher's, nothing else of the batch."""

from __future__ import annotations

from torch import Tensor


def mse_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between the similarities of the batch's own pairs.

        mean over i of (s_ii - t_ii)^2

    The plainest way to distil a similarity, and the second part of L_dist. The teacher is the target, not the
    label: the labels' own baseline is `cosent`. Both kinds of pair take part, and in-batch negatives do not.

    Args:
        student: s_ij = cos(z(a_i), z(b_j)), (n, n), in [-1, 1]. teacher: t_ij, (n, n), in [-1, 1]; no gradient.
            The diagonals are read.

    Returns:
        A number from 0 to 4.

    >>> import torch
    >>> mse_loss(torch.diag(torch.tensor([0.5, 0.0])), torch.diag(torch.tensor([0.9, 0.2])))
    tensor(0.1000)
    """
    return (student.diagonal() - teacher.diagonal()).square().mean()
