"""Baseline `kdmcse`: InfoNCE whose negatives carry a margin that grows as the teacher finds them farther apart."""

from __future__ import annotations

import torch
from torch import Tensor

from models.objectives.angle import angle, rotated_cosine
from models.objectives.contrast import contrast


def kdmcse_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    screened: Tensor,
    *,
    margin: float = 0.125,
    temperature: float = 0.05,
) -> Tensor:
    """AdapACSE with threshold filtering, over rows and columns.

        mean over i with y_i = 1, over rows and columns, of
            -log(exp(s_ii / tau) / (exp(s_ii / tau) + sum_j exp(logit_ij)))
        logit_ij = cos(theta_ij - (1 - t_ij) m) / tau where theta_ij > m, else s_ij / tau
        with theta_ij = arccos(s_ij), j over the screened negatives of i

    KDMCSE (Nguyen et al., NAACL 2024, arXiv 2403.17486) for images and captions, with CLIP as the teacher; read
    here for two texts and a teacher of texts. The gate theta_ij > m is that of the authors' published code; the
    teacher's mask on false negatives is `screen`, at the filter's own upper bound (the paper sets one by hand).
    Unlike L_mcl's, this margin is greatest for the pairs that the teacher finds opposite whatever the bound is,
    the positives have none, and labelled negatives have no term of their own. The paper takes rows alone.

    Args:
        student: s_ij = cos(z(a_i), z(b_j)), (n, n), in [-1, 1].
        teacher: t_ij, (n, n), in [-1, 1]; no gradient.
        targets: (n,), 1 for a match.
        screened: the in-batch negatives, (n, n), bool, from `screen`.
        margin: m, radians, from 0 (which is screened InfoNCE) to pi / 2; a pair's own goes up to 2 m.
        temperature: tau.

    Returns:
        A number of 0 or more; 0 for a batch without a match or with one pair.

    >>> import torch
    >>> student, teacher = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([[0.8, 0.0], [0.5, 0.9]])
    >>> screened = ~torch.eye(2, dtype=torch.bool)
    >>> kdmcse_loss(student, teacher, torch.ones(2), screened, margin=0.2, temperature=0.5)
    tensor(0.2864)
    """
    away = rotated_cosine(student, (teacher - 1) * margin)
    logit_neg = torch.where(angle(student) > margin, away, student) / temperature
    return contrast(student.diagonal() / temperature, logit_neg, targets, screened)
