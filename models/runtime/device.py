"""Where this process computes."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch
from accelerate.utils import parse_flag_from_env
from sentence_transformers.util import get_device_name


def own_device() -> torch.device:
    """The device of this process: a GPU if there is one (CUDA's, or Apple's and others), else the CPU.

    Of several CUDA GPUs it is the first one. Only the processes that train one student together
    (`pipeline.stages.distill.processes`) take one each, by their `LOCAL_RANK`; without CUDA they all stay on the
    CPU, which `ACCELERATE_USE_CPU` asks for. Students that `compare --jobs` makes beside each other share the
    first GPU.

    It is where sentence-transformers puts a teacher by itself, and where accelerate moves the student to when its
    training begins: nothing is moved twice.
    """
    return torch.device("cpu" if parse_flag_from_env("ACCELERATE_USE_CPU") else get_device_name())


def peak_memory() -> int:
    """The most memory that this process has held, bytes: of its GPU where there is one, else of its own."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    with suppress(
        OSError, IndexError
    ):  # not what `getrusage` says, which a process inherits from the one that started it
        status = Path("/proc/self/status").read_text("ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    # Kilobytes on the BSDs, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
