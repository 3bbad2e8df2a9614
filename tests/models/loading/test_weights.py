"""Which model folders are refused because their weights are pickled, elsewhere, or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.errors import FlipkdError
from models.loading.names import find_model
from models.loading.weights import check_weights, wants_code

MODULES = json.dumps([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}])


def folder_of(root: Path, *names: str, **contents: str) -> Path:
    """A folder with files of these names; `contents` by name with dots as `_DOT_`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}", "utf-8")
    for name, content in contents.items():
        (root / name.replace("_DOT_", ".")).write_text(content, "utf-8")
    return root


@pytest.mark.parametrize(
    "names",
    [
        ("model.safetensors",),
        ("model.safetensors", "pytorch_model.bin", "optimizer.pt", "training_args.bin", "rng_state.pth"),
        ("model.safetensors", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"),
        ("model.safetensors", "openvino/openvino_model.bin", "onnx/model.onnx", "tf_model.h5"),
        ("model.safetensors", "config.json", "adapter_config.json", "adapter_model.safetensors"),
        ("model.safetensors", "old/pytorch_model.bin"),  # no modules.json: nothing loads from a subfolder
    ],
)
def test_what_loads_from_safetensors_is_taken(tmp_path: Path, names: tuple[str, ...]) -> None:
    check_weights("here", folder_of(tmp_path, *names))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("pytorch_model.bin",), r"only pickled weights \(pytorch_model.bin\) for the model, which can run code"),
        (("pytorch_model.bin", "onnx/model.safetensors"), r"only pickled weights \(pytorch_model.bin\)"),
        (("pytorch_model-00001-of-00002.bin",), "only pickled weights"),
        (("pytorch_model.bin.index.json",), "only pickled weights"),
        (("adapter_model.bin", "model.safetensors"), r"only pickled weights \(adapter_model.bin\)"),
        (("weights.ckpt",), r"only pickled weights \(weights.ckpt\)"),
        (("model.pkl",), r"only pickled weights \(model.pkl\)"),
        (("old/model.safetensors",), "holds no"),
        (("config.json",), "holds no"),
    ],
)
def test_what_would_load_from_a_pickle_is_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(FlipkdError, match=message):
        find_model(str(folder_of(tmp_path, *names)))


def test_each_part_of_a_sentence_transformers_model_is_looked_at(tmp_path: Path) -> None:
    folder_of(
        tmp_path, "model.safetensors", "1_Pooling/config.json", "2_Dense/config.json", modules_DOT_json=MODULES
    )
    (tmp_path / "2_Dense/model.safetensors").write_text("", "utf-8")
    check_weights("here", tmp_path)
    (tmp_path / "2_Dense/model.safetensors").rename(tmp_path / "2_Dense/pytorch_model.bin")
    with pytest.raises(FlipkdError, match=r"pickled weights \(2_Dense/pytorch_model.bin\) for its part 2_Dense"):
        check_weights("here", tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "model-1.safetensors"}}, None),
        ({"weight_map": {"a": "pytorch_model-1.bin"}}, r"names pickled weights \(pytorch_model-1.bin\)"),
        ({"weight_map": {"a": "../elsewhere/model.safetensors"}}, "names weights outside of its folder"),
        ({"weight_map": {"a": "/elsewhere/model.safetensors"}}, "names weights outside of its folder"),
        ({"weight_map": {"a": "model-2.safetensors"}}, "model-2.safetensors, which is not there"),
        ({}, "no weight_map"),
        ([], "must be a JSON object"),
    ],
)
def test_shards_lie_in_the_folder_and_are_safetensors(tmp_path: Path, index: object, message: str | None) -> None:
    folder_of(tmp_path, "model-1.safetensors", "pytorch_model-1.bin")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    if message is None:
        check_weights("here", tmp_path)
        return
    with pytest.raises(FlipkdError, match=message):
        check_weights("here", tmp_path)


@pytest.mark.parametrize("named", ["adapter_model.bin", "../model.safetensors"])
def test_a_config_that_names_other_weights_is_refused(tmp_path: Path, named: str) -> None:
    config = json.dumps({"transformers_weights": named})
    folder_of(tmp_path, "model.safetensors", config_DOT_json=config)
    with pytest.raises(FlipkdError, match=r"config.json names (pickled weights|weights outside)"):
        check_weights("here", tmp_path)


def test_an_adapter_alone_is_refused_since_its_base_would_be_read_unchecked(tmp_path: Path) -> None:
    adapter = json.dumps({"base_model_name_or_path": "org/base"})
    folder_of(tmp_path, "adapter_model.safetensors", adapter_config_DOT_json=adapter)
    with pytest.raises(FlipkdError, match=r"is an adapter of org/base.* merge the two"):
        check_weights("here", tmp_path)


def test_json_that_is_none_is_one_error(tmp_path: Path) -> None:
    folder_of(tmp_path, "model.safetensors", config_DOT_json="{")
    with pytest.raises(FlipkdError, match=r"here: config.json is not valid JSON"):
        check_weights("here", tmp_path)


def test_only_a_refusal_of_code_is_taken_for_one() -> None:
    assert wants_code(ValueError("Please pass the argument `trust_remote_code=True`"))
    assert not wants_code(ValueError("another"))
    assert not wants_code(OSError("trust_remote_code"))
