"""A model cut to its first layers is the whole one, stopped early."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from data.errors import FlipkdError
from models.loading.convert import converted, cut_identity, kept_name
from models.loading.names import FoundModel, find_model
from models.student.student import load_base
from tests.tiny import tiny_student

IDS = torch.tensor([[5, 6, 7, 8, 9], [11, 12, 13, 14, 15]])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student", layers=4)


def test_it_is_the_first_blocks_then_norm_and_head(whole: Path, tmp_path: Path):
    found = find_model(str(whole))
    folder = converted(found, tmp_path / "models", 2)
    lm, tokenizer = load_base(whole)
    cut, its = load_base(folder)
    assert its.get_vocab() == tokenizer.get_vocab()
    assert len(cut.model.layers) == cut.config.num_hidden_layers == 2
    with torch.no_grad():
        # hidden_states[n] comes out of block n, before the norm; the last one alone is normed.
        stopped = lm.model.norm(lm.model(input_ids=IDS, output_hidden_states=True).hidden_states[2])
        torch.testing.assert_close(cut.model(input_ids=IDS).last_hidden_state, stopped, rtol=0, atol=0)
        torch.testing.assert_close(cut(input_ids=IDS).logits, lm.lm_head(stopped), rtol=0, atol=0)


def test_it_is_made_once_beside_the_whole_one(whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    found = find_model(str(whole))
    folder = converted(found, tmp_path, 3)
    assert folder == tmp_path / f"{kept_name(found.identity)}-first3"
    written = (folder / "model.safetensors").stat().st_mtime_ns
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="flipkd"):
        assert converted(found, tmp_path, 3) == folder
    assert not caplog.records
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert converted(found, tmp_path) == whole
    assert cut_identity(found, None) == found.identity
    assert len({cut_identity(found, layers) for layers in (None, 2, 3)}) == 3


def test_a_model_of_the_hub_has_a_name_too():
    assert kept_name("hub:org/tiny@0123") != kept_name("hub:org/tiny@4567")
    assert len(kept_name("hub:org/tiny@0123")) == 20


def test_more_layers_than_there_are(whole: Path, tmp_path: Path):
    with pytest.raises(FlipkdError, match="first_layers: the first 5 layers were asked for; there are 4"):
        converted(find_model(str(whole)), tmp_path, 5)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_what_the_config_says_of_each_layer_is_cut_too(whole: Path, tmp_path: Path):
    config = Qwen2Config(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        use_sliding_window=True,
        sliding_window=4,
        max_window_layers=2,
    )
    torch.manual_seed(0)
    lm = Qwen2ForCausalLM(config).eval()
    lm.save_pretrained(tmp_path / "qwen")
    kinds = json.loads((tmp_path / "qwen/config.json").read_text())["layer_types"]
    assert len(set(kinds)) == 2
    folder = converted(FoundModel("qwen", tmp_path / "qwen", "sha256:ab"), tmp_path / "models", 3)
    assert json.loads((folder / "config.json").read_text())["layer_types"] == kinds[:3]
    cut = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        stopped = lm.model.norm(lm.model(input_ids=IDS, output_hidden_states=True).hidden_states[3])
        torch.testing.assert_close(cut(input_ids=IDS).logits, lm.lm_head(stopped))


def test_one_that_cannot_be_cut_is_one_error(tmp_path: Path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(FlipkdError, match="odd cannot be cut to its first 2 layers"):
        converted(FoundModel("odd", tmp_path / "odd", "sha256:ab"), tmp_path / "models", 2)
