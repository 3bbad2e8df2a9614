"""What a forward pass leaves for its backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def waiting(model: nn.Module) -> Iterator[dict[int, Tensor]]:
    """Tensors that autograd keeps inside the block, one of each storage, but for the model's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def size(kept: dict[int, Tensor]) -> int:
    """Bytes of what `waiting` gave."""
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
