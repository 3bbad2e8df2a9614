"""What is found wrong with a student before any work starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import FlipkdError
from pipeline.stages.distill.check import check_student
from pipeline.store.store import Store
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    tiny_config(folder)
    return folder


def check(folder: Path, distill: dict[str, Any]) -> None:
    check_student(tiny_config(folder, distill=distill).distill, Store(folder / "store"))


def test_a_right_student_passes(folder: Path) -> None:
    check(folder, {})


@pytest.mark.parametrize(
    ("distill", "said"),
    [
        ({"lora": {"modules": ["qq_proj"]}}, r"distill\.lora\.modules: .*qq_proj.*down_proj, .*q_proj"),
        ({"lora": {"last_layers": 3}}, r"distill\.lora\.last_layers: .*3.*there are 2"),
        ({"sites": {"modules": ["lm_head"]}}, r"distill\.sites\.modules: .*lm_head.*q_proj"),
        ({"sites": {"last_layers": 3}}, r"distill\.sites\.last_layers: .*3.*there are 2"),
        ({"prompt": {"answers": ["", "yes"]}}, r"distill\.prompt\.answers: .*empty"),
        ({"prompt": {"answers": [" yes", " yes"]}}, r"distill\.prompt\.answers: .*same token"),
        ({"first_layers": 3}, r"distill\.first_layers: the first 3 layers.*there are 2"),
        ({"first_layers": 1, "lora": {"last_layers": 2}}, r"distill\.lora\.last_layers: .*2.*there are 1"),
        ({"first_layers": 1, "sites": {"last_layers": 2}}, r"distill\.sites\.last_layers: .*2.*there are 1"),
        ({"max_length": 300}, r"distill\.max_length: .*300.*512 positions; lower it to 2\d\d "),
    ],
)
def test_what_is_wrong_is_named_with_its_key(folder: Path, distill: dict[str, Any], said: str) -> None:
    with pytest.raises(FlipkdError, match=said):
        check(folder, distill)


def test_few_bits_need_their_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(folder, {"base": "nf4"})
    monkeypatch.setattr("pipeline.stages.distill.check.find_spec", lambda name: None)
    with pytest.raises(FlipkdError, match=r"distill\.base: int8 needs bitsandbytes.*pip install bitsandbytes"):
        check(folder, {"base": "int8"})
    check(folder, {"base": "fp32"})


def test_a_base_that_is_larger_than_the_machine_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.stages.distill.check.total_memory", lambda: 100_000)
    with pytest.raises(
        FlipkdError, match=r"distill\.model: the weights of .* take 0\.0 GB \(distill\.base: auto, 2 pro"
    ):
        check(folder, {"processes": 2})
    monkeypatch.setattr("pipeline.stages.distill.check.total_memory", lambda: 10_000_000)
    check(folder, {"processes": 2})


def test_layers_cannot_be_computed_again_in_every_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(folder, {"gradient_checkpointing": True})
    monkeypatch.setattr("transformers.LlamaForCausalLM.supports_gradient_checkpointing", False)
    with pytest.raises(FlipkdError, match=r"distill\.gradient_checkpointing: LlamaForCausalLM does not know it"):
        check(folder, {"gradient_checkpointing": True})


def test_a_site_needs_no_adapter_of_its_own(folder: Path) -> None:
    check(folder, {"lora": {"modules": ["k_proj"], "last_layers": 1}})


def test_an_encoder_is_no_student(folder: Path) -> None:
    with pytest.raises(FlipkdError, match=r"distill\.model: .*is not a decoder-only model.*BertConfig"):
        check(folder, {"model": str(folder / "teacher")})


def test_as_many_positions_as_the_longest_prompt_are_enough(folder: Path) -> None:
    with pytest.raises(FlipkdError, match="positions; lower it to") as raised:
        check(folder, {"max_length": 300})
    longest = int(str(raised.value).rpartition("lower it to ")[2].split()[0])
    check(folder, {"max_length": longest})
    with pytest.raises(FlipkdError, match=rf"distill\.max_length: .*lower it to {longest} "):
        check(folder, {"max_length": longest + 1})


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "config.json",
            {"model_type": "nothing"},
            r"distill\.model: .* is not a decoder-only model: its config\.json",
        ),
        ("tokenizer.json", {}, r"distill\.model: .*: its tokenizer cannot be loaded: "),
        (
            "config.json",
            {"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Model"}, "model_type": "own"},
            r"distill\.model: .*brings code of its own.* set distill\.trust_remote_code: true",
        ),
    ],
)
def test_a_model_that_cannot_be_loaded(
    folder: Path, tmp_path: Path, file: str, content: dict[str, Any], said: str
) -> None:
    shutil.copytree(folder / "student", tmp_path / "student")
    (tmp_path / "student" / file).write_text(json.dumps(content), "utf-8")
    with pytest.raises(FlipkdError, match=said):
        check(folder, {"model": str(tmp_path / "student")})
