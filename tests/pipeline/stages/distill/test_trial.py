"""The configured student is tried before any stage runs, once."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from data.errors import FlipkdError
from models.student.trial import Trial
from pipeline.stages.distill import trial as module
from pipeline.stages.distill.check import check_student
from pipeline.store.store import Store
from tests.models.student.architectures import UNKEPT, WORKS, tiny_lm
from tests.pipeline.stages.distill.test_run import ran
from tests.tiny import tiny_config, tiny_student


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_config(tmp_path)
    return tmp_path


def check(folder: Path, **distill: Any) -> None:
    check_student(tiny_config(folder, distill=distill).distill, Store(folder / "store"))


def saved(folder: Path, name: str, settings: dict[str, Any]) -> Path:
    """A model folder of an architecture, with the tiny student's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_student(folder / "words"))
    tiny_lm(name, settings, len(tokenizer)).save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    return folder / name


def test_it_is_tried_once_and_again_where_it_is_built_in_another_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(folder)
    (first,) = (folder / "store/trials").glob("*/trial.json")
    assert json.loads(first.read_text("utf-8")) == {"problem": None, "kept": None}
    tried: list[Any] = []
    monkeypatch.setattr(module, "try_student", lambda student: tried.append(student) or Trial())
    check(folder)
    check(folder, learning_rate=0.5)
    assert tried == []
    check(folder, sites={"last_layers": 1})
    assert len(tried) == 1
    first.write_text('{"problem": nu', "utf-8")  # killed as it was written
    check(folder)
    assert len(tried) == 2
    tried.pop()
    copied = folder / "copied"
    shutil.copytree(folder / "student", copied)
    check(folder, model=str(copied))  # the same bytes elsewhere
    assert len(tried) == 1


def test_what_does_not_agree_is_refused_and_stays_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "try_student", lambda _: Trial("its numbers here and there differ by 0.5"))
    said = r"distill\.model: .*student cannot be a student: its numbers here and there differ by 0\.5"
    with pytest.raises(FlipkdError, match=said):
        check(folder)
    monkeypatch.undo()
    with pytest.raises(FlipkdError, match=said):
        check(folder)


def test_a_large_model_is_left_to_the_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 10)
    monkeypatch.setattr(module, "try_student", lambda _: pytest.fail("it was loaded"))
    check(folder)


def test_what_peft_cannot_adapt_is_refused_in_its_words(folder: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "bos_token_id": 0, "eos_token_id": 1,
             "pad_token_id": 1}  # fmt: skip
    model = saved(folder, "Mamba", sizes)
    settings = {"lora": {"modules": "all-linear"}, "sites": {"modules": ["in_proj"]}}
    with pytest.raises(FlipkdError, match="incompatible with Mamba-based models"):
        check(folder, model=str(model), **settings)


def test_a_model_with_scaled_logits_trains_and_answers_by_its_own_head(tmp_path: Path) -> None:
    settings, site = WORKS["Granite"]
    model = saved(tmp_path, "Granite", settings)
    short: dict[str, Any] = {"epochs": 0.2, "text_epochs": 0, "warm_up": {"epochs": 0}}
    assert ran(tmp_path / "run", model, sites={"modules": [site]}, **short)["steps"] > 0


def test_where_activations_cannot_be_kept_training_passes_through_all_layers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    settings, site = UNKEPT["GPTJ"]
    model = saved(tmp_path, "GPTJ", settings)
    short: dict[str, Any] = {"epochs": 0.2, "text_epochs": 0, "warm_up": {"epochs": 0}}
    layers = {"lora": {"modules": [site], "last_layers": 1}, "sites": {"modules": [site]}}
    found = ran(tmp_path / "run", model, **layers, **short)
    assert found["steps"] > 0
    assert "every step passes through all layers: what lies below the adapters cannot be kept" in caplog.text
