"""What is found wrong before any work starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.errors import FlipkdError
from pipeline.config.load import load_config
from pipeline.runner.check import checked_plan
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    tiny_config(folder)
    return folder


def test_a_right_config_passes_and_nothing_is_written(folder: Path) -> None:
    checked_plan(tiny_config(folder))
    assert not (folder / "store" / "artifacts").exists()


@pytest.mark.parametrize(
    ("distill", "said"),
    [
        ({"lora": {"modules": ["qq_proj"]}}, r"distill\.lora\.modules: .*qq_proj.*down_proj, .*q_proj"),
        ({"lora": {"last_layers": 3}}, r"distill\.lora\.last_layers: .*3.*there are 2"),
        ({"sites": {"modules": ["lm_head"]}}, r"distill\.sites\.modules: .*lm_head.*q_proj"),
        ({"sites": {"last_layers": 3}}, r"distill\.sites\.last_layers: .*3.*there are 2"),
        ({"prompt": {"answers": ["", "yes"]}}, r"distill\.prompt\.answers: .*empty"),
        ({"prompt": {"answers": [" yes", " yes"]}}, r"distill\.prompt\.answers: .*same token"),
        ({"model": "./nowhere"}, r"distill\.model: .*no such file or folder"),
        ({"first_layers": 3}, r"distill\.first_layers: the first 3 layers.*there are 2"),
        ({"first_layers": 1, "lora": {"last_layers": 2}}, r"distill\.lora\.last_layers: .*2.*there are 1"),
        ({"first_layers": 1, "sites": {"last_layers": 2}}, r"distill\.sites\.last_layers: .*2.*there are 1"),
        ({"max_length": 300}, r"distill\.max_length: .*300.*512 positions; lower it to 2\d\d "),
    ],
)
def test_the_student(folder: Path, distill: dict[str, Any], said: str) -> None:
    with pytest.raises(FlipkdError, match=said):
        checked_plan(tiny_config(folder, distill=distill))


def test_a_site_needs_no_adapter_of_its_own(folder: Path) -> None:
    checked_plan(tiny_config(folder, distill={"lora": {"modules": ["k_proj"], "last_layers": 1}}))


def test_an_encoder_is_no_student(folder: Path) -> None:
    with pytest.raises(FlipkdError, match=r"distill\.model: .*is not a decoder-only model.*BertConfig"):
        checked_plan(tiny_config(folder, distill={"model": str(folder / "teacher")}))


def test_the_student_matters_only_when_it_is_trained(folder: Path) -> None:
    checked_plan(tiny_config(folder, distill={"model": "./nowhere"}), until="filter")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"path": "{folder}/none.csv"}, r"prepare\.inputs\.0: no such file.*none\.csv"),
        ({"path": "{folder}"}, r"prepare\.inputs\.0: .* is a folder"),
        ({"path": "package:no_such_package/x.csv"}, r"pip install no-such-package"),
        ({"label": "lable"}, r"prepare\.inputs\.0: .*lable.*`label: null`"),
        ({"split": "train", "split_column": "label"}, r"prepare\.inputs\.0: .*not both"),
        ({"text_a": "textA"}, r"prepare\.inputs\.0: .*textA.*text_a"),
        ({"group": "questions"}, r"prepare\.inputs\.0: .*questions.*question"),
        ({"split_column": "part"}, r"prepare\.inputs\.0: .*part"),
    ],
)
def test_the_input_files(folder: Path, file: dict[str, str], said: str) -> None:
    entry = {"kind": "pairs", "path": str(folder / "pairs.csv")}
    entry |= {key: value.format(folder=folder) for key, value in file.items()}
    with pytest.raises(FlipkdError, match=said):
        checked_plan(tiny_config(folder, prepare={"inputs": [entry]}))


def test_the_models_key_is_named(folder: Path) -> None:
    with pytest.raises(FlipkdError, match=r"teach\.model: \./nowhere"):
        checked_plan(tiny_config(folder, teach={"model": "./nowhere"}), until="teach")


@pytest.mark.real
def test_the_demo_passes(tmp_path: Path) -> None:
    checked_plan(load_config("demo", [f"store={tmp_path / 'store'}"]))
