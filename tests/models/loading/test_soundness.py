"""Broken models; more kinds of damage are in `tests/bad_input/models.py`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertModel

from data.errors import FlipkdError
from models.loading.soundness import check_files, check_loading, check_numbers, on_meta
from models.teacher.check import check_teacher
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
    check_teacher("x", folder / "teacher", trust_remote_code=False, max_length=None, trust_key="k")
    model = on_meta(folder / "student", AutoModelForCausalLM)
    assert next(model.parameters()).device.type == "meta"


def test_an_encoder_without_its_pooler_is_whole(folder: Path, tmp_path: Path) -> None:
    """The pooler stands behind the token vectors; many encoders are published without one."""
    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    bare = BertModel.from_pretrained(folder / "teacher", add_pooling_layer=False)
    bare.save_pretrained(tmp_path / "teacher")
    assert isinstance(bare.config, BertConfig)
    check_teacher("x", tmp_path / "teacher", trust_remote_code=False, max_length=None, trust_key="k")


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


def test_a_tokenizer_that_knows_no_word(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    (tmp_path / "teacher" / "tokenizer.json").unlink()
    with pytest.raises(FlipkdError, match=r"one and the same vector.*tokenizer"):
        check_teacher("x", tmp_path / "teacher", trust_remote_code=False, max_length=None, trust_key="k")
