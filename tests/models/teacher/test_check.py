"""A teacher that cannot teach is found before any work; more kinds of damage: `tests/bad_input/models.py`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from data.errors import FlipkdError
from models.teacher.check import check_encoder
from tests.tiny import tiny_student, tiny_teacher


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("check") / "teacher")


@pytest.fixture
def teacher(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "teacher")


def check(folder: Path, max_length: int | None = None) -> None:
    check_encoder("teach.others.1", "model", str(folder), trust_remote_code=False, max_length=max_length)


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def into_own_folder(folder: Path) -> Path:
    """The first module's files moved from the top into a folder of its own, as older models have them."""
    own = folder / "0_Transformer"
    own.mkdir()
    stay = {"modules.json", "config_sentence_transformers.json"}
    for file in [path for path in folder.iterdir() if path.is_file() and path.name not in stay]:
        file.rename(own / file.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = own.name
    (folder / "modules.json").write_text(json.dumps(modules))
    return own


def test_a_whole_one_passes(whole: Path) -> None:
    check(whole)
    check(whole, max_length=64)


def test_an_encoder_without_its_pooler_is_whole(whole: Path, teacher: Path) -> None:
    """The pooler stands behind the token vectors; many encoders are published without one."""
    bare = BertModel.from_pretrained(whole, add_pooling_layer=False)
    bare.save_pretrained(teacher)
    assert isinstance(bare.config, BertConfig)
    check(teacher)


def test_a_missing_weight_is_named_wherever_the_module_lies(teacher: Path) -> None:
    own = into_own_folder(teacher)
    check(teacher)
    change_weights(own, lambda weights: weights.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(FlipkdError, match=r"missing, such as encoder\.layer\.1\.output\.dense\.weight"):
        check(teacher)


def test_a_number_that_is_none(teacher: Path) -> None:
    change_weights(teacher, lambda weights: weights["encoder.layer.0.output.dense.bias"][3].fill_(float("nan")))
    with pytest.raises(
        FlipkdError, match=r"^teach\.others\.1\.model: .*encoder\.layer\.0\.output\.dense\.bias are not finite"
    ):
        check(teacher)


def test_finite_weights_whose_vectors_are_not(teacher: Path) -> None:
    change_weights(teacher, lambda weights: weights["encoder.layer.0.output.dense.weight"].fill_(1e38))
    with pytest.raises(FlipkdError, match="its vectors are not finite numbers"):
        check(teacher)


def test_a_tokenizer_that_knows_no_word(teacher: Path) -> None:
    (teacher / "tokenizer.json").unlink()
    with pytest.raises(FlipkdError, match=r"one and the same vector.*tokenizer"):
        check(teacher)


def test_language_models_are_no_teachers(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"decoder-only language model \(LlamaForCausalLM\), not a bi-encoder"):
        check(tiny_student(tmp_path / "student"))
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(FlipkdError, match="is a GGUF file, so a decoder-only language model"):
        check(tmp_path / "model.gguf")


def test_more_tokens_than_positions(whole: Path) -> None:
    with pytest.raises(FlipkdError, match=r"teach\.others\.1\.max_length is 65, but .* has 64 positions"):
        check(whole, max_length=65)
