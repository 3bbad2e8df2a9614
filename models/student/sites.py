"""Which linear layers of a model get an adapter, and at which of them A is read as the encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

LAYER_NUMBER = re.compile(r"\.(\d+)\.")


def linear_layers(lm: Any) -> list[str]:
    """Full names of the linear layers inside the numbered blocks of a causal LM, in order.

    The output embedding stands outside the blocks and is never adapted.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return [n for n, m in lm.named_modules() if isinstance(m, nn.Linear | Conv1D) and LAYER_NUMBER.search(n)]


def layer_number(name: str) -> int:
    """The block that a layer stands in: 3 for `model.layers.3.self_attn.q_proj`."""
    found = LAYER_NUMBER.search(name)
    return int(found.group(1)) if found else -1


def module_name(name: str) -> str:
    """The last part of a layer's name: `q_proj` for `model.layers.3.self_attn.q_proj`."""
    return name.rpartition(".")[2]


def first_layers(layers: Sequence[str], count: int) -> list[str]:
    """The layers in the first so many blocks.

    Raises:
        ValueError: there are fewer blocks.
    """
    blocks = sorted({layer_number(name) for name in layers})
    if count > len(blocks):
        raise ValueError(f"the first {count} layers were asked for; there are {len(blocks)}")
    return [name for name in layers if layer_number(name) in blocks[:count]]


def adapted_layers(layers: Sequence[str], modules: Sequence[str] | str, last_layers: int | None) -> list[str]:
    """The layers that get an adapter.

    Args:
        modules: module names, or `all-linear`.
        last_layers: the last k blocks alone; None for all.

    Raises:
        ValueError: a module that the model does not have, or more blocks than it has.
    """
    wanted = sorted({module_name(n) for n in layers}) if modules == "all-linear" else list(modules)
    return _select(layers, wanted, last_layers)


def select_sites(layers: Sequence[str], modules: Sequence[str], last_layers: int | None) -> list[str]:
    """The layers whose A is read as the encoder, from the first block to the last.

    A site need not be among the adapted layers: there it is read only, with B kept at 0.

    Raises:
        ValueError: a module that the model does not have, or more blocks than it has.
    """
    return _select(layers, modules, last_layers)


def _select(layers: Sequence[str], modules: Sequence[str], last_layers: int | None) -> list[str]:
    there = sorted({module_name(name) for name in layers})
    unknown = [name for name in modules if name not in there]
    if unknown:
        raise ValueError(f"no linear layer is called {', '.join(unknown)}; there are {', '.join(there)}")
    blocks = sorted({layer_number(name) for name in layers})
    if last_layers is not None and last_layers > len(blocks):
        raise ValueError(f"the last {last_layers} layers were asked for; there are {len(blocks)}")
    kept = set(blocks if last_layers is None else blocks[-last_layers:])
    return [name for name in layers if module_name(name) in modules and layer_number(name) in kept]
