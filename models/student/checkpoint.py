"""Checkpoints of a training run in safetensors and JSON: weights, optimiser, scheduler, random state, progress."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.student.student import Student

log = logging.getLogger("flipkd.distill")
PROGRESS = "progress"


def save_checkpoint(
    path: Path,
    student: Student,
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
    extra: dict[str, Tensor],
) -> None:
    """Write one checkpoint file; it replaces the former one in a single rename, so a crash leaves one of the two.

    Args:
        progress: plain JSON: step, log rows, best value.
        extra: more tensors to keep, the best adapter's, say.
    """
    tensors = {f"adapter/{name}": tensor for name, tensor in student.adapter().items()}
    tensors |= {f"extra/{name}": tensor for name, tensor in extra.items()}
    state = optimizer.state_dict()
    for index, slots in state["state"].items():
        for name, value in slots.items():
            tensors[f"optimizer/{index}/{name}"] = torch.as_tensor(value).cpu().clone()
    tensors["random/torch"] = torch.get_rng_state()
    for device in range(torch.cuda.device_count()):
        tensors[f"random/cuda{device}"] = torch.cuda.get_rng_state(device)
    # As a tensor: safetensors reads no header above 100 MB, and the log of a long run is longer.
    tensors[PROGRESS] = torch.frombuffer(bytearray(json.dumps(progress), "utf-8"), dtype=torch.uint8)
    temporary = path.with_suffix(".writing")
    save_file(tensors, temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(
    path: Path, student: Student, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Put a checkpoint back; the scheduler follows from `progress["step"]`.

    Returns:
        `progress` and `extra` as they were saved, or None if there is no checkpoint, or none that can be read.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
            # Earlier versions wrote it into the header.
            written = tensors[PROGRESS].numpy().tobytes() if PROGRESS in tensors else file.metadata()[PROGRESS]
            progress = json.loads(written)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("distill: the checkpoint %s cannot be read (%s): beginning anew", path, error)
        return None
    student.load_adapter(_below(tensors, "adapter/"))
    state = optimizer.state_dict()
    state["state"] = {}
    for name, tensor in _below(tensors, "optimizer/").items():
        index, slot = name.split("/")
        state["state"].setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict(state)
    torch.set_rng_state(tensors["random/torch"])
    for device in range(torch.cuda.device_count()):
        if f"random/cuda{device}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random/cuda{device}"], device)
    return progress, _below(tensors, "extra/")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def seed_everything(seed: int) -> None:
    """Seed torch (all devices) and NumPy's global generator, which libraries may use."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
