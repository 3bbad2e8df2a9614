"""The student that the config describes, from a model folder or a loaded base model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from data.errors import FlipkdError
from models.runtime.device import own_device
from models.student.student import Student, StudentSpec, build_student, load_base
from pipeline.stages.distill.config import QUANTISED, DistillConfig


def loaded(config: DistillConfig, folder: Path) -> Student:
    """The student of a base model's folder, on this process's device.

    Raises:
        FlipkdError: as `load_base` and `build`.
    """
    dtype = base_dtype(config)
    lm, tokenizer = load_base(folder, trust_remote_code=config.trust_remote_code, dtype=dtype, base=config.base)
    return build(lm, tokenizer, config).to(own_device())


def computes_in_bf16(config: DistillConfig) -> bool:
    """Whether a step's activations are bf16 (autocast): on a GPU that has them."""
    return torch.cuda.is_available() and config.precision != "fp32" and torch.cuda.is_bf16_supported()


def base_dtype(config: DistillConfig) -> str:
    """Of the base's weights, or of those that are not quantised. A and B are fp32."""
    given = {"fp32": "float32", "bf16": "bfloat16"}.get(config.base)
    return given or ("bfloat16" if computes_in_bf16(config) else "float32")


def numbers(config: DistillConfig, dtype: str, precision: str) -> str:
    """What decides the numbers that a base computes, besides its weights: names what is kept of them."""
    return " ".join([*([config.base] if config.base in QUANTISED else []), dtype, precision])


def build(lm: Any, tokenizer: Any, config: DistillConfig) -> Student:
    """The student that the config describes, untrained: A at random, every B at 0.

    Raises:
        FlipkdError: a module or layer that the model does not have.
    """
    spec = StudentSpec(
        template=config.prompt.template,
        answers=config.prompt.answers,
        turned=config.prompt.turned,
        orders=config.prompt.orders,
        max_length=config.max_length,
        rank=config.lora.rank,
        alpha=config.lora.alpha,
        dropout=config.lora.dropout,
        modules=config.lora.modules,
        adapted_last_layers=config.lora.last_layers,
        site_modules=config.sites.modules,
        site_last_layers=config.sites.last_layers,
        pooling=config.sites.pooling,
        read=config.sites.read,
        trust_remote_code=config.trust_remote_code,
    )
    try:
        student = build_student(lm, tokenizer, spec)
        if config.gradient_checkpointing:
            with warnings.catch_warnings():  # its other name came after the oldest transformers that flipkd takes
                warnings.filterwarnings("ignore", "`gradient_checkpointing_enable` is deprecated", FutureWarning)
                # Reentrant, it would lose the gradients of what is read inside a layer.
                student.lm.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise FlipkdError(f"distill: {error}") from error
    return student
