from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from models.student.lora_linear import LeanLinear


def layer(lean: bool, bias: bool = False, dropout: float = 0.0) -> Any:
    """A linear layer of 6 inputs and 10 outputs with an adapter whose B is not 0; the same numbers either way."""
    torch.manual_seed(0)
    config = LoraConfig(r=3, lora_alpha=6, lora_dropout=dropout, target_modules=["0"])
    if lean:
        config._register_custom_module({nn.Linear: LeanLinear})
    found: Any = get_peft_model(nn.Sequential(nn.Linear(6, 10, bias=bias)), config).get_submodule(
        "base_model.model.0"
    )  # type: ignore[arg-type]
    nn.init.normal_(found.lora_B["default"].weight, generator=torch.Generator().manual_seed(1))
    assert type(found) is (LeanLinear if lean else Linear)
    return found


def both_ways(change: Callable[[Any], None], *, learns_below: bool = True, **settings: Any) -> list[list[Tensor]]:
    """Output and gradients of peft's layer and of ours, after the same change to both."""
    found = []
    for lean in (False, True):
        ours = layer(lean, **settings)
        x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(2)).requires_grad_(learns_below)
        change(ours)
        torch.manual_seed(3)
        out = ours(x)
        out.square().sum().backward()
        of_x = [x.grad] if x.grad is not None else []
        parts = [ours.lora_A["default"].weight.grad, ours.lora_B["default"].weight.grad]
        found.append([out, *of_x, *(part for part in parts if part is not None)])
    return found


def untouched(_layer: Any) -> None:
    pass


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("learns_below", [False, True])
def test_output_and_gradients_are_pefts(bias: bool, learns_below: bool):
    theirs, ours = both_ways(untouched, learns_below=learns_below, bias=bias)
    assert len(theirs) == 3 + learns_below
    torch.testing.assert_close(ours, theirs)


def test_a_b_that_is_frozen_takes_no_gradient():
    theirs, ours = both_ways(lambda found: found.lora_B["default"].weight.requires_grad_(False))
    assert len(theirs) == 3
    torch.testing.assert_close(ours, theirs)


def test_what_reads_a_takes_part_in_the_gradient():
    theirs, ours = both_ways(
        lambda found: found.lora_A["default"].register_forward_hook(lambda _m, _a, out: 2 * out)
    )
    torch.testing.assert_close(ours, theirs)
    plain = both_ways(untouched)[0]
    assert not torch.allclose(plain[0], ours[0])


def test_torch_tells_whether_a_layer_has_hooks_by_this_private_name():
    plain = nn.Linear(1, 1)
    assert not plain._forward_hooks
    plain.register_forward_hook(lambda _m, _a, out: out)
    assert len(plain._forward_hooks) == 1


def test_peft_takes_a_layer_of_ours_by_this_private_name():
    config = LoraConfig(target_modules=["0"])
    config._register_custom_module({nn.Linear: LeanLinear})
    assert type(get_peft_model(nn.Sequential(nn.Linear(2, 2)), config).base_model.model[0]) is LeanLinear  # type: ignore


@pytest.mark.parametrize("change", [lambda found: found.merge(), lambda found: found.enable_adapters(False)])
def test_merged_and_disabled_adapters_are_left_to_peft(change: Callable[[Any], None]):
    outputs = []
    for lean in (False, True):
        found = layer(lean)
        change(found)
        outputs.append(found(torch.ones(2, 6)))
    torch.testing.assert_close(outputs[1], outputs[0])


def test_dropout_drops_the_same():
    theirs, ours = both_ways(untouched, dropout=0.5)
    torch.testing.assert_close(ours, theirs)
