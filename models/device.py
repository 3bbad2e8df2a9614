"""Where this process computes."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def own_device() -> torch.device:
    """The GPU of this process, as accelerate will choose it for the training; else the CPU."""
    # Whoever asks first decides for the process whether it is one of several on CPUs.
    device = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device
    return torch.device("cpu") if device is None else device
