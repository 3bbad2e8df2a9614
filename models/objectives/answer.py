"""L_ce: cross-entropy of the answer word, against the label or a mix of label and teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def answer_loss(
    logits: Tensor, targets: Tensor, probabilities: Tensor | None = None, *, share: float = 0.0
) -> Tensor:
    """Cross-entropy between the two answer words, over the orders of every pair.

        L_ce = mean over i and its orders of -(1 - q_i) log p(no) - q_i log p(yes)
        q_i  = (1 - share) y_i + share p_i

    The probability is taken among the two words, as it is when the student answers. With a share above 0 the
    target is softened by the teacher's own probability of a match (Hinton et al. 2015, arXiv 1503.02531, with
    the teacher's calibrated similarity in place of its logits): pairs that it doubts pull less.

    Args:
        logits: (2 n, 2): the n prompts (a, b), then the n prompts (b, a); columns are labels 0 and 1. (n, 2) where
            each pair is asked about in one order.
        targets: (n,), 0 or 1.
        probabilities: the teacher's p_i of a match, (n,), in [0, 1]; read where `share` is above 0.
        share: of the teacher in the target, 0 (the label alone) to 1 (the teacher alone).

    Returns:
        A number of 0 or more.

    Raises:
        ValueError: a share without probabilities.

    >>> import torch
    >>> logits = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> answer_loss(logits, torch.tensor([1]))
    tensor(0.3133)
    >>> answer_loss(logits, torch.tensor([1]), torch.tensor([0.5]), share=0.5)
    tensor(0.5633)
    """
    orders = len(logits) // len(targets)
    if not share:
        return functional.cross_entropy(logits, targets.long().repeat(orders))
    if probabilities is None:
        raise ValueError("a share of the teacher in the answer's target needs the teacher's probabilities")
    match = (1 - share) * targets.to(logits) + share * probabilities.to(logits)
    return functional.cross_entropy(logits, torch.stack([1 - match, match], dim=1).repeat(orders, 1))
