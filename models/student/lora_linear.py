"""A linear layer with LoRA whose update costs no passes over whole activations: peft's layer, leaner on a CPU.

peft computes W x + scaling (B A x) as two products of full width, a multiplication and an addition, and another
multiplication backward. On a CPU these passes over memory were a tenth of a training step. Here the product itself
adds B A x, the scale goes to where only `rank` columns are, and B's gradient is computed the quick way round. The
sums are the same but for their rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional


class LeanLinear(Linear):
    """peft's LoRA layer, for `LoraConfig._register_custom_module`; what it does not know, it leaves to peft's."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        base, name = self.get_base_layer(), "".join(self.active_adapters[:1])
        if (
            len(self.active_adapters) != 1
            or name not in self.lora_B
            or self.disable_adapters
            or self.merged
            or self.lora_variant
            or args
            or kwargs
            or base.weight.requires_grad
            or x.device.type not in ("cpu", "meta")  # meta: what it takes is being counted
            or x.device.type != base.weight.device.type
            or not x.dtype == base.weight.dtype == self.lora_B[name].weight.dtype
        ):
            return super().forward(x, *args, **kwargs)
        encoder, b = self.lora_A[name], self.lora_B[name].weight
        if encoder._forward_hooks or not isinstance(self.lora_dropout[name], nn.Identity):
            low = encoder(self.lora_dropout[name](x))  # A x is read, or is not of x itself
            return _Adapted.apply(x, low, None, base.weight, base.bias, b, self.scaling[name])
        return _Adapted.apply(x, None, encoder.weight, base.weight, base.bias, b, self.scaling[name])


class _Adapted(torch.autograd.Function):
    """W x + bias + scale B low, where low is A x or given; x is (..., inputs), W and bias are frozen."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        x: Tensor,
        low: Tensor | None,
        a: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        ctx.shape, ctx.scale = x.shape, scale
        # No view of it goes out: Falcon adds to what it gets, in place.
        whole = functional.linear(x, weight, bias)
        x = x.flatten(0, -2)
        small = low.flatten(0, -2) if a is None else functional.linear(x, a)  # type: ignore[union-attr]
        ctx.save_for_backward(None if a is None else x, small, a, weight, b)
        whole.flatten(0, -2).addmm_(small, b.T, alpha=scale)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, small, a, weight, b = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)
        of_x = of_a = of_b = None
        of_low = (gradient @ b) * ctx.scale
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
            of_x = (of_x if a is None else of_x.addmm_(of_low, a)).view(ctx.shape)
        if ctx.needs_input_grad[2]:
            of_a = of_low.T @ x
        if ctx.needs_input_grad[5]:
            of_b = ((small.T @ gradient) * ctx.scale).T  # gradient.T @ small takes twice as long
        given = of_low.view(*ctx.shape[:-1], -1) if ctx.needs_input_grad[1] else None
        return of_x, given, of_a, None, None, of_b, None
