"""Baseline `cosent`: pairs of a higher label above pairs of a lower one, the teacher's own fine-tuning loss."""

from __future__ import annotations

import math

from torch import Tensor

from models.objectives.contrast import log_one_plus_sum_exp


def cosent_loss(student: Tensor, targets: Tensor, *, scale: float = 20.0) -> Tensor:
    """CoSENT over the batch's own pairs.

        log(1 + sum over i, j with y_i < y_j of exp(scale (s_i - s_j))),   s_i = s_ii

    Huang et al., "CoSENT: Consistent Sentence Embedding via Similarity Ranking", IEEE/ACM TASLP 2024
    (doi 10.1109/TASLP.2024.3402087); the same number as sentence-transformers' `CoSENTLoss`, which takes models
    and not similarities. A sum, not a mean: it grows with the logarithm of the number of pairs.

    Args:
        student: s_ij = cos(z(a_i), z(b_j)), (n, n), in [-1, 1]; the diagonal is read.
        targets: (n,), labels; any ordered numbers will do.
        scale: one over the temperature.

    Returns:
        A number of 0 or more; 0 where all labels are equal.

    >>> import torch
    >>> cosent_loss(torch.diag(torch.tensor([0.9, 0.8, 0.1])), torch.tensor([1, 0, 0]), scale=1)
    tensor(0.8562)
    """
    own = student.diagonal()
    gaps = scale * (own.unsqueeze(1) - own.unsqueeze(0))
    wrong_way = targets.unsqueeze(1) < targets.unsqueeze(0)
    return log_one_plus_sum_exp(gaps.masked_fill(~wrong_way, -math.inf).flatten().unsqueeze(0)).sum()
