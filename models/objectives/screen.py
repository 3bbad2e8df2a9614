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


def known_together(
    first: Sequence[int], second: Sequence[int], targets: Sequence[int], matches: np.ndarray | None = None
) -> Tensor:
    """Which texts a_i and b_j of a batch are equal, or equal to each other's partners in a positive pair.

    Args:
        first: ids (0 and up) of the texts a_i. second: of the texts b_j. targets: 1 if (a_i, b_i) is a match.
        matches: further matches, from `couples`, sorted.

    Returns:
        (n, n), bool: True where a_i is b_j, or where a match of the batch, or one of `matches`, holds both.
    """
    a, b = np.asarray(first, np.int64), np.asarray(second, np.int64)
    named = couples(a[:, None], b[None])
    known = np.equal.outer(a, b) | np.isin(named, named.diagonal()[np.asarray(targets) == 1])
    if matches is not None and len(matches):
        place = np.searchsorted(matches, named).clip(max=len(matches) - 1)
        known |= matches[place] == named
    return torch.from_numpy(known)


def couples(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Couples of texts as one number each, whichever comes first.

    Args:
        a, b: ids, from 0 to 2^31, int64, of shapes that fit each other.
    """
    return (np.minimum(a, b) << 32) + np.maximum(a, b)
