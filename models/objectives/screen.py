"""Which pairs of a batch may count as negatives: the dual threshold inside the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def screen(teacher: Tensor, tau_neg: float, same: Tensor) -> Tensor:
    """The mask of in-batch negatives.

    (i, j), i != j, counts as a negative iff t_ij <= tau_neg and the two texts are not known to belong together.

    Args:
        teacher: similarities t_ij = cos(T(a_i), T(b_j)), (n, n), in [-1, 1].
        tau_neg: upper bound of the dual threshold.
        same: from `known_together`, (n, n), bool.

    Returns:
        (n, n), bool; the diagonal is False.

    >>> import torch
    >>> teacher = torch.tensor([[0.9, 0.2, 0.7], [0.3, 0.9, 0.1], [0.6, 0.5, 0.9]])
    >>> screen(teacher, 0.6, torch.zeros(3, 3, dtype=torch.bool)).int()
    tensor([[0, 1, 0],
            [1, 0, 1],
            [1, 1, 0]], dtype=torch.int32)
    """
    return (teacher <= tau_neg) & unscreened(same)


def unscreened(same: Tensor) -> Tensor:
    """The in-batch negatives of objectives that do not ask the teacher: every other text that is no known partner.

    Args:
        same: from `known_together`, (n, n), bool.

    Returns:
        (n, n), bool; the diagonal is False.
    """
    return ~same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)


def known_together(first: Sequence[int], second: Sequence[int], targets: Sequence[int]) -> Tensor:
    """Which texts a_i and b_j of a batch are equal, or equal to each other's partners in a positive pair.

    Args:
        first: ids (0 and up) of the texts a_i. second: of the texts b_j. targets: 1 if (a_i, b_i) is a match.

    Returns:
        (n, n), bool: True where a_i is b_j, or where a match of the batch holds both.
    """
    a, b = np.asarray(first, np.int64), np.asarray(second, np.int64)
    # A couple of texts as one number, whichever comes first.
    base = max(a.max(initial=0), b.max(initial=0)) + 1
    couples = np.minimum.outer(a, b) * base + np.maximum.outer(a, b)
    matches = couples.diagonal()[np.asarray(targets) == 1]
    return torch.from_numpy(np.equal.outer(a, b) | np.isin(couples, matches))
