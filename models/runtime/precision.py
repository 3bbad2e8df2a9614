"""How matrix products are computed: full fp32, or bf16 inputs with fp32 sums where that is faster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch


@contextmanager
def matrix_precision(wanted: str) -> Iterator[str]:
    """Set the precision of fp32 matrix products inside the block, and restore it after.

    Args:
        wanted: `fp32`, `bf16`, or `auto`, bf16 where the hardware is made for it. Weights, sums and everything
            but the products stay fp32. On a GPU the same setting allows TF32.

    Yields:
        `fp32` or `bf16`: what is in force.
    """
    chosen = wanted if wanted != "auto" else ("bf16" if bf16_is_faster() else "fp32")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if chosen == "bf16" else "highest")
    try:
        yield chosen
    finally:
        torch.set_float32_matmul_precision(before)


def resolved_precision(wanted: str, file: Path) -> str:
    """What a training takes from its start to its end, also when it goes on after a crash.

    Where a store moves to another machine in between, asking again could give another answer, and the two halves
    would differ.

    Args:
        wanted: `fp32`, `bf16` or `auto`.
        file: remembers what `auto` has come to.

    Returns:
        `fp32` or `bf16`.
    """
    if wanted != "auto":
        return wanted
    with suppress(FileNotFoundError):
        if (known := file.read_text("utf-8")) in {"fp32", "bf16"}:
            return known
    chosen = "bf16" if bf16_is_faster() else "fp32"
    file.write_text(chosen, "utf-8")
    return chosen


def bf16_is_faster() -> bool:
    """Whether this machine has units of their own for bf16 products: tensor cores, or AMX on a processor.

    Asked, not measured: on a busy machine a measurement comes out this way or that, and two runs of one config
    would train different students.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16"))
