"""L_ce: cross-entropy of the answer word."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def answer_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy between the two answer words, over both orders of every pair.

        L_ce = mean over i and both orders of -log softmax(logits)[y_i]

    The probability is taken among the two words, as it is when the student answers.

    Args:
        logits: (2 n, 2): the n prompts (a, b), then the n prompts (b, a); columns are labels 0 and 1.
        targets: (n,), 0 or 1.
    """
    return functional.cross_entropy(logits, targets.long().repeat(2))
