"""Which precision a training takes: by the hardware alone, and the same until its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import models.runtime.precision
from models.runtime.precision import bf16_is_faster, matrix_precision, resolved_precision


def test_it_holds_inside_the_block_alone() -> None:
    before = torch.get_float32_matmul_precision()
    with matrix_precision("bf16") as chosen:
        assert (chosen, torch.get_float32_matmul_precision()) == ("bf16", "medium")
    assert torch.get_float32_matmul_precision() == before


def test_a_training_goes_on_in_the_precision_that_it_began_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fast, other in ((True, False), (False, True)):
        file = tmp_path / str(fast)
        monkeypatch.setattr(models.runtime.precision, "bf16_is_faster", lambda fast=fast: fast)
        begun = resolved_precision("auto", file)
        assert begun == ("bf16" if fast else "fp32")
        monkeypatch.setattr(models.runtime.precision, "bf16_is_faster", lambda other=other: other)
        assert resolved_precision("auto", file) == begun
        assert resolved_precision("fp32", file) == "fp32"


def test_what_a_crash_left_of_it_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "precision"
    file.write_text("b")
    assert resolved_precision("auto", file) == ("bf16" if bf16_is_faster() else "fp32") == file.read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks the processor, which a GPU makes unimportant")
@pytest.mark.parametrize(
    ("found", "faster"), [({"amx_bf16": True}, True), ({"amx_bf16": False}, False), ({}, False)]
)
def test_it_goes_by_the_processor_and_not_by_its_load(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], faster: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert bf16_is_faster() is faster
