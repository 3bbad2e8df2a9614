"""What the contrastive objectives share: symmetric InfoNCE over a batch's similarities, with any logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def contrast(logit_pos: Tensor, logit_neg: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Every positive pair against the negatives of its row and of its column.

        mean over i with y_i = 1 of (l(i, row) + l(i, column)) / 2
        l(i, row)    = log(1 + sum over j with negatives_ij of exp(logit-_ij - logit+_i))
        l(i, column) = log(1 + sum over j with negatives_ji of exp(logit-_ji - logit+_i))

    This is the cross-entropy -log(exp(logit+_i) / (exp(logit+_i) + sum_j exp(logit-_ij))). A positive without
    negatives adds 0, and so does a batch without positives; both have a gradient of zero.

    Args:
        logit_pos: of the pairs themselves, (n,). logit_neg: of a_i with b_j, (n, n); read where `negatives` is.
        targets: (n,), 1 for a match.
        negatives: (n, n), bool, from `screen` or `unscreened`.

    Returns:
        A number of 0 or more.

    >>> import torch
    >>> contrast(torch.zeros(2), torch.zeros(2, 2), torch.ones(2), ~torch.eye(2, dtype=torch.bool))
    tensor(0.6931)
    """
    positive = targets == 1
    parts = []
    for logits, mask in ((logit_neg, negatives), (logit_neg.T, negatives.T)):
        gaps = (logits - logit_pos.unsqueeze(1)).masked_fill(~mask, -math.inf)
        parts.append(log_one_plus_sum_exp(gaps[positive]))
    found = torch.cat(parts)
    return found.sum() / max(len(found), 1)


def log_one_plus_sum_exp(values: Tensor) -> Tensor:
    """log(1 + sum_j exp(values_ij)) of every row, (rows,), 0 or more; -inf stands for an absent term."""
    zero = values.new_zeros(len(values), 1)
    return torch.cat([zero, values], dim=1).logsumexp(dim=1)
