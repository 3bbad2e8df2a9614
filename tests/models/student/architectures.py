"""Decoder-only architectures as tiny models, and what becomes of each as a student.

`WORKS` have equal numbers in every way that flipkd reads them; of `UNKEPT` what lies below the adapters is not
kept, since their blocks give more than hidden states.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers

_SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
}  # fmt: skip
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_HEADS = {**_GROUPED, "head_dim": 8}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "bos_token_id": 0, "eos_token_id": 1}
_EXPERTS = {"moe_intermediate_size": 32, "num_experts_per_tok": 2}

# Name of the classes (`NameConfig`, `NameForCausalLM`), settings, the layer that is read.
WORKS: dict[str, tuple[dict[str, Any], str]] = {
    "Llama": (_GROUPED, "q_proj"),
    "Mistral": (_GROUPED, "q_proj"),
    "Ministral3": (_HEADS, "q_proj"),
    "Qwen2": (_GROUPED, "q_proj"),
    "Qwen3": (_HEADS, "q_proj"),
    "Qwen3Moe": ({**_HEADS, **_EXPERTS, "num_experts": 4}, "q_proj"),
    "Mixtral": ({**_GROUPED, "num_local_experts": 4}, "q_proj"),
    "Gemma": (_HEADS, "q_proj"),
    "Gemma2": (_HEADS, "q_proj"),
    "Phi": (_SIZES, "q_proj"),
    "Phi3": (_GROUPED, "qkv_proj"),
    "GPTNeoX": (_SIZES, "query_key_value"),
    "Olmo2": (_GROUPED, "q_proj"),
    "SmolLM3": (_GROUPED, "q_proj"),
    "Starcoder2": (_GROUPED, "q_proj"),
    "StableLm": (_GROUPED, "q_proj"),
    "Granite": (
        {**_GROUPED, "logits_scaling": 8.0, "embedding_multiplier": 12.0, "attention_multiplier": 0.0156,
         "residual_multiplier": 0.22},
        "q_proj",
    ),
    "Cohere": ({**_GROUPED, "logit_scale": 0.0625}, "q_proj"),
    "Cohere2": ({**_HEADS, "logit_scale": 0.25}, "q_proj"),
    "Nemotron": (_GROUPED, "q_proj"),
    "Glm4": ({**_HEADS, "partial_rotary_factor": 0.5}, "q_proj"),
    "OPT": (
        {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_hidden_layers": 2,
         "num_attention_heads": 4, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1,
         "pad_token_id": 1},
        "q_proj",
    ),
    "BioGpt": (_SIZES, "q_proj"),
    "GPTBigCode": (_GPT, "c_attn"),
    "Helium": (_HEADS, "q_proj"),
    "Arcee": (_GROUPED, "q_proj"),
    "GptOss": (
        {**_HEADS, "num_local_experts": 4, "num_experts_per_tok": 2, "layer_types": ["full_attention"] * 2},
        "q_proj",
    ),
}  # fmt: skip
UNKEPT: dict[str, tuple[dict[str, Any], str]] = {
    "GPTJ": ({**_GPT, "rotary_dim": 4}, "q_proj"),
    "Bloom": (
        {"hidden_size": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1},
        "query_key_value",
    ),
    "Falcon": ({**_SIZES, "alibi": False, "new_decoder_architecture": False}, "query_key_value"),
    "CodeGen": ({**_GPT, "rotary_dim": 4}, "qkv_proj"),
}  # fmt: skip


def tiny_lm(name: str, settings: dict[str, Any], words: int, seed: int = 0) -> Any:
    """A causal LM of an architecture with random weights."""
    config = getattr(transformers, f"{name}Config")(vocab_size=words, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, f"{name}ForCausalLM")(config).eval()
