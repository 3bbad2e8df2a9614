"""What is found wrong before any work starts."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize("stage", ["teach", "distill"])
def test_the_models_key_is_named(folder: Path, stage: str) -> None:
    with pytest.raises(FlipkdError, match=rf"{stage}\.model: \./nowhere: no such file or folder"):
        checked_plan(tiny_config(folder, **{stage: {"model": "./nowhere"}}), until=stage)


def test_the_students_layers_are_checked_too(folder: Path) -> None:
    with pytest.raises(FlipkdError, match=r"distill\.lora\.modules: .*qq_proj"):
        checked_plan(tiny_config(folder, distill={"lora": {"modules": ["qq_proj"]}}))


@pytest.mark.real
def test_the_demo_passes(tmp_path: Path) -> None:
    checked_plan(load_config("demo", {"store": str(tmp_path / "store")}))
