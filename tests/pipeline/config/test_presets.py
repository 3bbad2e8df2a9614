"""What suits a small student goes under a config's own values."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.loading.names import find_model
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.config.presets import SMALL_STUDENT, under
from pipeline.runner.plan import plan
from pipeline.stages.distill.config import DistillConfig

INPUTS = "prepare: {inputs: [{kind: utterances, path: 'package:data/sample/faq.csv', id: faq_id}]}\n"


def load(folder: Path, text: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(INPUTS + text, encoding="utf-8")
    return load_config(path)


def test_mappings_are_merged_and_all_else_is_replaced() -> None:
    preset = {"a": {"b": 1, "c": {"d": 2}}, "e": [1]}
    assert under({}, preset) == preset
    assert under({"a": {"b": 3}, "f": 4}, preset) == {"a": {"b": 3, "c": {"d": 2}}, "e": [1], "f": 4}
    assert under({"a": None, "e": [2]}, preset) == {"a": None, "e": [2]}
    assert preset == {"a": {"b": 1, "c": {"d": 2}}, "e": [1]}


def test_it_sets_what_a_config_leaves_out(tmp_path: Path) -> None:
    config = load(tmp_path, "preset: small_student\ndistill: {lora: {rank: 4}, text_epochs: 1}\n")
    distill, default = config.distill, DistillConfig()
    assert (distill.first_layers, distill.lora.last_layers, distill.learning_rate) == (20, 10, 1e-3)
    assert (distill.lora.rank, distill.text_epochs) == (4, 1.0)
    assert distill.epochs == default.epochs
    assert load(tmp_path, "").distill == default


def test_what_it_sets_may_be_set_back(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(INPUTS + "preset: small_student\n", encoding="utf-8")
    config = load_config(path, {"distill.first_layers": None})
    assert config.distill.first_layers is None
    assert config.distill.learning_rate == 1e-3


@pytest.mark.real
def test_keys_are_those_of_the_settings_written_out(tmp_path: Path) -> None:
    """A config that used to write them out keeps all that it computed when it names the preset instead."""
    written = f"distill: {SMALL_STUDENT['distill']}\n"
    short = plan(load(tmp_path, "preset: small_student\n"))
    long = plan(load(tmp_path, written))
    assert [step.key for step in short] == [step.key for step in long]
    assert [step.key for step in short] != [step.key for step in plan(load(tmp_path, ""))]


@pytest.mark.real
def test_it_fits_the_default_student() -> None:
    from transformers import AutoConfig

    found = find_model(DistillConfig().model)
    layers = AutoConfig.from_pretrained(found.path.parent, gguf_file=found.path.name).num_hidden_layers
    assert SMALL_STUDENT["distill"]["lora"]["last_layers"] < SMALL_STUDENT["distill"]["first_layers"] < layers
