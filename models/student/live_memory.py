"""What a step of training takes in memory and operations, found without computing a single number.

On the meta device a model computes shapes alone, in about a second whatever its size. Every tensor that comes and
goes is counted, forward and backward, so that nothing here need know what a model is made of.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from models.student.sites import layer_number
from models.student.student import Batch, Student


class LiveMemory(TorchDispatchMode):
    """Counts what is computed inside the block: bytes of tensors as long as they live, and operations.

    Attributes:
        now, peak: bytes of tensors that were made inside. What a kernel takes for itself alone is not seen.
        operations: additions and multiplications of matrix products.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.operations = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device.type == "meta":
            return False  # asked for a number, such as whether a mask is all ones, which beside padding it is not
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        if counted := flop_registry.get(func._overloadpacket):
            self.operations += counted(*args, **(kwargs or {}), out_val=out)
        for leaf in tree_leaves(out):
            storage = leaf.untyped_storage() if isinstance(leaf, Tensor) else None
            if storage is not None and storage._cdata not in given and storage not in self._known:
                self._known.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _gone(self, size: int) -> None:
        self.now -= size


def step_takes(student: Student, prompts: int, tokens: int, dtype: torch.dtype, *, kept: bool) -> tuple[int, int]:
    """A forward and a backward pass on one padded batch, both views in the loss.

    Args:
        student: on the meta device, in training mode.
        prompts, tokens: the batch's shape. dtype: bfloat16 for autocast to it, else float32.
        kept: hidden states at the student's cut are given, so that nothing below is computed.

    Returns:
        Bytes at the peak, gradients counted, weights and the batch not; and operations.
    """
    begins = kept and student.cut > 0
    encoders = zip(student.sites, student.encoders(), strict=True)
    below = sum(a.shape[1] for site, a in encoders if layer_number(site) < student.cut)
    width = student.lm.get_input_embeddings().weight.shape[1]
    with torch.device("meta"):
        batch = Batch(
            torch.zeros(prompts, tokens, dtype=torch.long),
            torch.ones(prompts, tokens, dtype=torch.long),
            torch.ones(prompts, dtype=torch.long),
            torch.zeros(prompts, tokens, width) if begins else None,
            torch.zeros(prompts, below) if begins else None,
        )
    with LiveMemory() as live:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            z, logits = student(batch)
        (z.sum() + logits.sum()).backward()
    student.zero_grad(set_to_none=True)
    return live.peak, live.operations
