"""Gradients of a contrastive batch that does not fit into memory, through parts of it (GradCache).

A contrastive loss needs all vectors of a batch at once, but not all of their activations: the vectors are
computed without a graph, the loss gives the gradient of each of them, and a second pass carries these gradients
through the model part by part. As much memory as one part, one forward pass more, and the gradients of the
undivided batch. Luyu Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
arXiv 2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from models.student.batching import token_batches
from models.student.student import Batch

Forward = Callable[[Batch], tuple[Tensor, Tensor]]


def parts(batch: Batch, tokens: int) -> list[Tensor]:
    """Rows of a batch, of like length together, in parts that stay within so many tokens, padding counted."""
    lengths = batch.mask.sum(1).tolist()
    return [torch.tensor(rows) for rows in token_batches(lengths, tokens)]


def forward_in_parts(
    forward: Forward, batch: Batch, rows: Sequence[Tensor], *, seed: int
) -> tuple[Tensor, Tensor]:
    """Both views of a batch as leaves of a graph of their own, computed part by part without a graph below.

    Args:
        rows: from `parts`. seed: of the dropout; give `backward_in_parts` the same.

    Returns:
        z (prompts, width) and logits (prompts, 2) in the batch's order, which take a gradient.
    """
    order = torch.cat(list(rows)).argsort()
    with torch.no_grad():
        z, logits = zip(*(_seeded(forward, batch.part(part), seed, n) for n, part in enumerate(rows)), strict=True)
    whole = torch.cat(z)[order], torch.cat(logits)[order]
    return whole[0].requires_grad_(), whole[1].requires_grad_()


def backward_in_parts(
    forward: Forward,
    batch: Batch,
    rows: Sequence[Tensor],
    z: Tensor,
    logits: Tensor,
    *,
    seed: int,
    backward: Callable[[Tensor], None] = torch.Tensor.backward,
    unsynchronised: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Carry the gradients of z and logits into the model's parameters, part by part.

    Args:
        z, logits: from `forward_in_parts`, after the loss has gone backward.
        backward: what to call instead of `Tensor.backward` (accelerate's).
        unsynchronised: a context in which processes keep their gradients; all parts but the last run in it.
    """
    for number, part in enumerate(rows):
        with unsynchronised() if number < len(rows) - 1 else nullcontext():
            again, answers = _seeded(forward, batch.part(part), seed, number)
            total = again.new_zeros(())
            # The gradient of this sum is the cached gradient; its value means nothing.
            for output, gradient in ((again, z.grad), (answers, logits.grad)):
                if gradient is not None:
                    total = total + (output * gradient[part]).sum()
            backward(total)


def _seeded(forward: Forward, batch: Batch, seed: int, number: int) -> tuple[Tensor, Tensor]:
    """A forward pass whose dropout depends on the seed and the part's number alone: both passes drop the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed * 1009 + number)
        return forward(batch)
