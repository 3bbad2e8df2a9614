"""Variants of a comparison that ship with flipkd: dotted keys of the pipeline's config to values.

`flip` is the config as it is: every other variant changes one thing in it.
"""

from __future__ import annotations

from typing import Any

Variants = dict[str, dict[str, Any]]

# The paper's table: the LLM as it comes, fine-tuned on labels alone, and the flip with each part left out.
PAPER: Variants = {
    # Untrained, a model cut to its first layers answers nothing: the whole one does.
    "zero_shot": {"distill.objective": "zero_shot", "distill.first_layers": None},
    "sft": {"distill.objective": "sft"},
    "flip": {},
    "flip_arccse": {"distill.contrastive": "arccse"},
    "flip_kdmcse": {"distill.contrastive": "kdmcse"},
    "flip_no_mcl": {"distill.weights.mcl": 0},
    "flip_no_dist": {"distill.weights.dist": 0},
    "flip_no_filter": {"filter.enabled": False},
}

# The other way to read a vector from an LLM, trained by the same objective: as E5-Mistral and LLM2Vec do.
READINGS: Variants = {
    "flip": {},
    "flip_hidden_mean": {"distill.sites.read": "hidden"},
    "flip_hidden_last": {"distill.sites.read": "hidden", "distill.sites.pooling": "last"},
}

SWEEP: Variants = {
    "flip": {},
    "sft": {"distill.objective": "sft"},
    **{f"rank_{rank}": {"distill.lora.rank": rank, "distill.lora.alpha": 2 * rank} for rank in (4, 64, 256)},
    **{f"rate_{name}": {"distill.learning_rate": rate} for name, rate in (("3e4", 3e-4), ("3e3", 3e-3))},
    "sites_last_layer": {"distill.sites.last_layers": 1},
    "sites_last_10": {"distill.sites.last_layers": 10},
    "sites_attention_mlp": {"distill.sites.modules": ["q_proj", "gate_proj"]},
    "pooling_last": {"distill.sites.pooling": "last"},
    "margins_0": {"distill.margins.positive": 0.0, "distill.margins.negative": 0.0},
    "margins_large": {"distill.margins.positive": 0.4, "distill.margins.negative": 0.4},
    "temperature_002": {"distill.margins.temperature": 0.02, "distill.dist_temperature": 0.02},
    "temperature_01": {"distill.margins.temperature": 0.1, "distill.dist_temperature": 0.1},
    "mcl_1": {"distill.weights.mcl": 1.0},
    "ce_3": {"distill.weights.ce": 3.0},
    "balanced": {"distill.balance": "scale"},
    "soft_targets_0": {"distill.soft_targets": 0.0},
    "soft_targets_1": {"distill.soft_targets": 1.0},
    "clip_together": {"distill.clip": "together"},
    "similarities_train_all": {"distill.sites.trains": "student"},
    "sites_of_their_own": {
        "distill.lora.modules": ["k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    },
    "pooling_attention": {"distill.sites.pooling": "attention", "distill.sites.last_layers": 10},
    "no_warm_up": {"distill.warm_up.epochs": 0},
    "no_texts": {"distill.text_epochs": 0},
    "texts_16": {"distill.text_epochs": 16},
    "epochs_1": {"distill.epochs": 1},
    "epochs_5": {"distill.epochs": 5},
    "decay_together": {"distill.decay": "together"},
    "all_layers": {"distill.lora.last_layers": None},
    "last_4_layers": {"distill.lora.last_layers": 4},
    # SmolLM2-135M has 30: the answer can be read before the last.
    "first_12_layers": {"distill.first_layers": 12},
    "first_16_layers": {"distill.first_layers": 16},
    "first_24_layers": {"distill.first_layers": 24},
    "whole_model": {"distill.first_layers": None},
}

PRESETS: dict[str, Variants] = {"paper": PAPER, "readings": READINGS, "sweep": SWEEP}
