"""The student that the config describes, from a loaded base model."""

from __future__ import annotations

from typing import Any

from data.errors import FlipkdError
from models.student.student import Student, StudentSpec, build_student
from pipeline.stages.distill.config import DistillConfig


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
        return build_student(lm, tokenizer, spec)
    except ValueError as error:
        raise FlipkdError(f"distill: {error}") from error
