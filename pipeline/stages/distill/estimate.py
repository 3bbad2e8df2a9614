"""What a training will take, told before it begins: memory and time."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch

from data.errors import first_line
from models.runtime.device import own_device
from models.student.flipkd_student import PairPrompt
from models.student.live_memory import step_takes
from models.student.sites import layer_number
from models.student.student import attention_settings
from pipeline.stages.distill.build import base_dtype, build, computes_in_bf16
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.pair_data import PairData
from pipeline.stages.distill.schedule import epoch_batches

log = logging.getLogger("flipkd.distill")
# Bytes a weight of a linear layer: nf4 with two levels of scales has 4 + 8 / 64 + 32 / (64 * 256) bits.
FEW_BITS = {"int8": 1.0, "nf4": 0.516}
# Each number of A and B, Adam's two moments, and the best so far; gradients are part of a step.
ADAPTER_BYTES = 16
# Of the peak of matrix products, as trainings reached it on two cores and on an H100.
SHARE = {"fp32": 0.6, "bf16": 0.25}
_TRIED_SECONDS = 0.2


@dataclass(frozen=True)
class Need:
    """What a training takes.

    Attributes:
        base, adapter: bytes of the base's weights; of what is learnt, with what Adam keeps of it.
        step: bytes of the largest batch's forward and backward pass, at the peak. shape: its prompts and tokens.
        operations: additions and multiplications of all steps.
    """

    base: int
    adapter: int
    step: int
    shape: tuple[int, int]
    operations: float


def base_bytes(config: DistillConfig, lm: Any) -> int:
    """Memory of the base's weights, held as the config says.

    Args:
        lm: the model, also without its weights; of its blocks the config's first ones count.
    """
    whole = torch.finfo(getattr(torch, base_dtype(config))).bits / 8
    few = FEW_BITS.get(config.base, whole)
    linear = {f"{name}.weight" for name, module in lm.named_modules() if isinstance(module, torch.nn.Linear)}
    total = 0.0
    for name, parameter in lm.named_parameters():
        block = layer_number(name)
        if config.first_layers is None or block < config.first_layers:
            total += parameter.numel() * (few if block >= 0 and name in linear else whole)
    return round(total)


def needed(
    config: DistillConfig,
    folder: Path,
    prompt: PairPrompt,
    data: PairData,
    steps: tuple[int, int],
    *,
    kept: bool,
) -> Need:
    """What a training on these pairs takes, a process.

    Args:
        folder: the base model's, cut already. prompt: the student's.
        steps: on texts and on pairs, above 0 together.
        kept: what lies below the adapters is computed once.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    trusted = {"trust_remote_code": config.trust_remote_code}
    settings = AutoConfig.from_pretrained(folder, **trusted)
    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(
            settings, dtype=base_dtype(config), **attention_settings(), **trusted
        )
    base = base_bytes(config, lm)
    student = build(lm, prompt.tokenizer, config).to("meta").train()
    dtype = torch.bfloat16 if computes_in_bf16(config) else torch.float32
    largest, shape, operations = 0, (0, 0), 0.0
    kinds: tuple[Literal["texts"], Literal["pairs"]] = ("texts", "pairs")
    for kind, count in zip(kinds, steps, strict=True):
        if not count:
            continue
        shapes = _shapes(data, config, kind, len(prompt.head))
        prompts, tokens = max(shapes, key=lambda shape: shape[0] * shape[1])
        prompts = max(1, min(prompts, config.max_tokens // tokens))
        peak, of_it = step_takes(student, prompts, tokens, dtype, kept=kept)
        if peak > largest:
            largest, shape = peak, (prompts, tokens)
        operations += count * of_it * float(np.mean([a * b for a, b in shapes])) / (prompts * tokens)
    learnt = sum(parameter.numel() for parameter in student.parameters() if parameter.requires_grad)
    return Need(base, learnt * ADAPTER_BYTES, largest, shape, operations)


def _shapes(
    data: PairData, config: DistillConfig, kind: Literal["texts", "pairs"], head: int
) -> list[tuple[int, int]]:
    """Prompts and tokens of each batch of one epoch, as they are padded."""
    lengths = np.array([len(text) for text in data.texts])
    if kind == "texts":
        return [(len(rows), head + int(lengths[rows].max())) for rows in epoch_batches(data, config, kind, 0, 0)]
    both = lengths[data.first] + lengths[data.second] + data.prompt_overhead
    return [(2 * len(rows), int(both[rows].max())) for rows in epoch_batches(data, config, kind, 0, 0)]


def tell_need(
    config: DistillConfig,
    folder: Path,
    prompt: PairPrompt,
    data: PairData,
    steps: tuple[int, int],
    precision: str,
    *,
    kept: bool,
) -> Need | None:
    """Say what a training takes, and warn where less is free. Call it with the base loaded; others as `needed`.

    Args:
        precision: of matrix products, `fp32` or `bf16`, which is in force.

    Returns:
        What it takes; None where a model cannot be asked.
    """
    try:
        with torch.random.fork_rng():  # what is built here to be counted must not move what is drawn for training
            need = needed(config, folder, prompt, data, steps, kept=kept)
    except Exception as error:  # where the way through a model depends on its numbers, each raises its own
        log.info("distill: what it takes cannot be told beforehand: %s", first_line(error))
        return None
    rate = SHARE[precision] * matrix_rate(precision)
    log.info(
        "distill: takes about %.1f GB of memory (base %.2f, adapter and Adam %.2f, a step of %d prompts of %d "
        "tokens %.2f) and %.0f minutes, by %.2g operations",
        (need.base + need.adapter + need.step) / 1e9, need.base / 1e9, need.adapter / 1e9, *need.shape,
        need.step / 1e9, need.operations / rate / 60, need.operations,
    )  # fmt: skip
    wanted, free = need.adapter + need.step, free_memory()
    if wanted > free:
        again = "" if config.gradient_checkpointing else "set distill.gradient_checkpointing: true, or "
        log.warning(
            "distill: a step takes about %.1f GB beside the base, and %.1f GB are free: %slower "
            "distill.max_tokens (now %d)",
            wanted / 1e9, free / 1e9, again, config.max_tokens,
        )  # fmt: skip
    return need


def is_scarce(need: Need | None) -> bool:
    """Whether a step with as much again in the holes of a processor's allocator is more than is free."""
    return need is not None and not torch.cuda.is_available() and need.adapter + 2 * need.step > free_memory()


def memory_limit(need: Need) -> int:
    """Bytes of this process, as it is before its first step, with room for a step and as much again in holes."""
    return psutil.Process().memory_info().rss + need.adapter + 2 * need.step


def free_memory() -> int:
    """Bytes that this process may still take: of its GPU where there is one, else of the machine."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available


def total_memory() -> int:
    """Bytes of its GPU where there is one, else of the machine."""
    return torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else psutil.virtual_memory().total


def matrix_rate(precision: str) -> float:
    """Operations a second of matrix products of this device, as it is now, in the precision that is in force."""
    device = own_device()
    # What `bf16` on a GPU computes with autocast, a CPU does inside a product of fp32 numbers.
    dtype = torch.bfloat16 if precision == "bf16" and device.type == "cuda" else torch.float32
    rows, width, wide = 2048, 1024, 2048
    x, w = torch.ones(rows, width, device=device, dtype=dtype), torch.ones(width, wide, device=device, dtype=dtype)
    float((x @ w).sum())
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < _TRIED_SECONDS:
        float((x @ w)[0, 0])  # read, so that a GPU has done it
        done += 1
    return done * 2 * rows * width * wide / (time.perf_counter() - started)
