"""Baseline `infonce`: symmetric InfoNCE with in-batch negatives, without margins and without the teacher."""

from __future__ import annotations

from torch import Tensor

from models.objectives.contrast import contrast


def infonce_loss(student: Tensor, targets: Tensor, negatives: Tensor, *, temperature: float = 0.05) -> Tensor:
    """InfoNCE of every matching pair against the other texts of the batch, over rows and columns.

        mean over i with y_i = 1, over rows and columns, of
            -log(exp(s_ii / tau) / (exp(s_ii / tau) + sum_j exp(s_ij / tau))),   j over the negatives of i

    Van den Oord et al. 2018 (arXiv 1807.03748); in-batch negatives and tau = 0.05 as in SimCSE (Gao et al., EMNLP
    2021, arXiv 2104.08821). Pairs labelled as no match have no term of their own: their texts are negatives of
    the matching pairs.

    Args:
        student: s_ij = cos(z(a_i), z(b_j)), (n, n), in [-1, 1].
        targets: (n,), 1 for a match.
        negatives: (n, n), bool; from `unscreened` for the plain baseline.
        temperature: tau.

    Returns:
        A number of 0 or more; 0 for a batch without a match or with one pair.

    >>> import torch
    >>> student = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    >>> infonce_loss(student, torch.ones(2), ~torch.eye(2, dtype=torch.bool), temperature=0.5)
    tensor(0.2220)
    """
    logits = student / temperature
    return contrast(logits.diagonal(), logits, targets, negatives)
