"""Broken models; more kinds of damage are in `tests/bad_input/models.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from models.loading.soundness import check_files, check_loading, check_numbers, module_folder, on_meta
from tests.tiny import tiny_student, tiny_teacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soundness")
    tiny_student(folder / "student")
    tiny_teacher(folder / "teacher")
    return folder


def test_whole_models_pass(folder: Path) -> None:
    check_files("x", folder / "student")
    check_files("x", folder / "teacher")
    model = on_meta(folder / "student", AutoModelForCausalLM)
    assert next(model.parameters()).device.type == "meta"


def test_what_transformers_tells() -> None:
    check_loading({"missing_keys": {"pooler.dense.weight"}, "mismatched_keys": set()})
    with pytest.raises(ValueError, match=r"2 weights .* missing, such as a\.weight"):
        check_loading({"missing_keys": {"b.weight", "a.weight"}, "mismatched_keys": set()})
    with pytest.raises(ValueError, match=r"such as w: \(2, 3\), not \(2, 4\)"):
        check_loading({"missing_keys": set(), "mismatched_keys": {("w", torch.Size([2, 3]), torch.Size([2, 4]))}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_among_many(value: float) -> None:
    layer = torch.nn.Linear(100, 100)
    check_numbers(layer)
    with torch.no_grad():
        layer.weight[3, 4] = value
    with pytest.raises(ValueError, match="the weights weight are not finite"):
        check_numbers(layer)


def test_large_numbers_in_half_precision_are_finite() -> None:
    layer = torch.nn.Linear(300, 300).to(torch.float16)
    with torch.no_grad():
        layer.weight.fill_(6e4)
    check_numbers(layer)


def test_a_modules_files_lie_at_the_top_or_in_its_own_folder(tmp_path: Path) -> None:
    for name in ("0_Transformer", "1_Pooling", "2_Dense"):
        (tmp_path / name).mkdir()
    (tmp_path / "1_Pooling" / "config.json").touch()
    assert module_folder(tmp_path, 1) == tmp_path / "1_Pooling"
    assert module_folder(tmp_path, 2) == tmp_path
    (tmp_path / "config.json").touch()
    assert module_folder(tmp_path, 1) == tmp_path
