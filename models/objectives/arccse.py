"""Baseline `arccse`: InfoNCE whose positives must clear a constant angular margin."""

from __future__ import annotations

from torch import Tensor

from models.objectives.angle import shifted_cosine
from models.objectives.contrast import contrast


def arccse_loss(
    student: Tensor, targets: Tensor, negatives: Tensor, *, margin: float = 0.2, temperature: float = 0.05
) -> Tensor:
    """The pairwise loss of ArcCSE (ArcCon), over rows and columns.

        mean over i with y_i = 1, over rows and columns, of
            -log(exp(cos(theta_ii + m) / tau) / (exp(cos(theta_ii + m) / tau) + sum_j exp(s_ij / tau)))
        with theta_ii = arccos(s_ii), j over the negatives of i; past theta_ii + m = pi the margin is dropped

    Zhang et al., "A Contrastive Framework for Learning Sentence Representations from Pairwise and Triple-wise
    Perspective in Angular Space", ACL 2022 (2022.acl-long.336). Its second loss, on triplets of a text and two
    shortened copies, needs texts of its own making and is left out; so is any word of the teacher. The paper
    takes rows alone; columns are added here as in the other objectives.

    Args:
        student: s_ij = cos(z(a_i), z(b_j)), (n, n), in [-1, 1].
        targets: (n,), 1 for a match.
        negatives: (n, n), bool; from `unscreened` for the plain baseline.
        margin: m, radians, from 0 (which is InfoNCE) to pi / 2.
        temperature: tau.

    Returns:
        A number of 0 or more; 0 for a batch without a match or with one pair.

    >>> import torch
    >>> student = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    >>> arccse_loss(student, torch.ones(2), ~torch.eye(2, dtype=torch.bool), margin=0.2, temperature=0.5)
    tensor(0.2751)
    """
    logit_pos = shifted_cosine(student.diagonal(), margin) / temperature
    return contrast(logit_pos, student / temperature, targets, negatives)
