"""Which layers are adapted and read, against a tiny Llama's own modules."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from models.student.sites import (
    adapted_layers,
    first_layers,
    layer_number,
    linear_layers,
    module_name,
    select_sites,
)
from tests.tiny import tiny_student

ATTENTION, FEED_FORWARD = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")


def layers_of(blocks: Any, attention: Any = ATTENTION, feed_forward: Any = FEED_FORWARD) -> list[str]:
    """The names by what a Llama is made of: each block has an attention and a feed-forward part."""
    parts = [*(f"self_attn.{name}" for name in attention), *(f"mlp.{name}" for name in feed_forward)]
    return [f"model.layers.{block}.{part}" for block, part in product(blocks, parts)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LlamaForCausalLM:
    folder = tiny_student(tmp_path_factory.mktemp("sites") / "model", layers=12)
    return LlamaForCausalLM.from_pretrained(folder)


def test_the_linear_layers_are_those_of_the_blocks_in_order(llama: LlamaForCausalLM) -> None:
    layers = linear_layers(llama)
    assert layers == layers_of(range(12))
    modules = dict(llama.named_modules())
    assert all(isinstance(modules[name], torch.nn.Linear) for name in layers)
    others = {name for name, module in modules.items() if isinstance(module, torch.nn.Linear)} - set(layers)
    assert others == {"lm_head"}


def test_layers_of_gpt2_are_no_linear_ones_and_count_too() -> None:
    lm = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=10, n_positions=8))
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert linear_layers(lm) == [f"transformer.h.0.{part}" for part in parts]


def test_a_name_in_its_parts() -> None:
    assert (layer_number("model.layers.11.mlp.up_proj"), module_name("model.layers.11.mlp.up_proj")) == (
        11,
        "up_proj",
    )
    assert (layer_number("lm_head"), module_name("lm_head")) == (-1, "lm_head")


def test_layers_are_counted_by_number_not_by_name(llama: LlamaForCausalLM) -> None:
    """As names, block 10 would stand between 1 and 2."""
    layers = linear_layers(llama)
    assert first_layers(layers, 3) == layers_of(range(3))
    assert adapted_layers(layers, "all-linear", None) == layers
    assert adapted_layers(layers, "all-linear", 3) == layers_of((9, 10, 11))
    assert adapted_layers(layers, ["v_proj", "q_proj"], 1) == layers_of([11], ("q_proj", "v_proj"), ())
    assert select_sites(layers, ["down_proj"], 2) == layers_of((10, 11), (), ("down_proj",))
    assert select_sites(layers, ["down_proj"], None) == layers_of(range(12), (), ("down_proj",))


def test_what_the_model_does_not_have(llama: LlamaForCausalLM) -> None:
    layers = linear_layers(llama)
    with pytest.raises(ValueError, match="the first 13 layers were asked for; there are 12"):
        first_layers(layers, 13)
    with pytest.raises(ValueError, match="the last 13 layers were asked for; there are 12"):
        select_sites(layers, ["q_proj"], 13)
    with pytest.raises(ValueError, match="no linear layer is called c_attn, c_fc; there are down_proj, gate_proj"):
        adapted_layers(layers, ["c_attn", "q_proj", "c_fc"], None)
