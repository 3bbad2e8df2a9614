"""What a student takes: parameters, and the time of one text and one pair on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.student.flipkd_student import FlipkdStudent

CALLS, SECONDS = 5, 10.0


def footprint(student: FlipkdStudent, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How large a student is, and how long it takes.

    Args:
        pairs: one or more; the one of middling length is asked about.

    Returns:
        `parameters` of the base and `adapter_parameters`; `width` of a text's vector; `device` and `dtype`;
        `text_ms` and `pair_ms`, the median time of one text's vector and one pair's scores, asked for alone.
    """
    a, b = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))[len(pairs) // 2]
    some = next(student.lm.parameters())
    adapter = [
        buffer for name, buffer in student.lm.named_buffers() if name.rpartition(".")[2].startswith("flipkd_")
    ]
    return {
        "parameters": student.lm.num_parameters(),  # packed ones counted as what they stand for
        "adapter_parameters": sum(buffer.numel() for buffer in adapter),
        "width": student.get_embedding_dimension(),
        "device": some.device.type,
        "dtype": str(some.dtype).removeprefix("torch."),
        "text_ms": _median_ms(lambda: student.embed([a])),
        "pair_ms": _median_ms(lambda: student.match([(a, b)])),
    }


def _median_ms(call: Callable[[], object]) -> float:
    """Of some calls after a first one; of fewer where each takes long."""
    call()
    taken: list[float] = []
    while len(taken) < CALLS and sum(taken) < SECONDS:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)
