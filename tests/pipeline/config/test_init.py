"""The config that `flipkd init` writes for a first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.init import PRESET, first_config, write_config
from pipeline.config.load import load_config

PAIRS = "question,title,is_duplicate\nhow to pay,pay a bill,1\nwhere to go,go to town,0\n"


def expected(*inputs: dict[str, str]) -> Config:
    named = {"promote": {"name": "config"}}  # after the file
    return Config.model_validate({"preset": PRESET, "prepare": {"inputs": list(inputs)}, **named})


def test_it_is_short_and_changes_no_setting(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write_config(path)
    assert len(path.read_text("utf-8").splitlines()) <= 40
    assert load_config(path) == expected({"kind": "pairs", "path": str(tmp_path / "pairs.csv")})


def test_it_says_what_its_preset_sets_and_where_the_rest_is() -> None:
    text = " ".join(first_config().replace("#", "").split())
    assert "distill.first_layers 20, distill.lora.last_layers 10, distill.learning_rate 0.001" in text
    assert "flipkd init --full" in text


@pytest.mark.parametrize("full", [False, True])
def test_the_columns_of_a_file_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pairs.csv").write_text(PAIRS, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "data")
    write_config(tmp_path / "config.yaml", ["pairs.csv", "package:data/sample/faq.csv"], full)
    pairs = {"kind": "pairs", "text_a": "question", "text_b": "title", "label": "is_duplicate"}
    utterances = {"kind": "utterances", "path": "package:data/sample/faq.csv", "id": "faq_id"}
    assert "path: data/pairs.csv" in (tmp_path / "config.yaml").read_text("utf-8")  # the two may move together
    config = load_config(tmp_path / "config.yaml")
    assert config == expected(pairs | {"path": str(tmp_path / "data/pairs.csv")}, utterances)


def test_a_file_beside_the_configs_folder_is_named_whole(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    (tmp_path / "configs").mkdir()
    write_config(tmp_path / "configs/a.yaml", [str(tmp_path / "pairs.csv")])
    assert load_config(tmp_path / "configs/a.yaml").prepare.inputs[0].path == str(tmp_path / "pairs.csv")


def test_names_that_yaml_would_read_otherwise_stay_names(tmp_path: Path) -> None:
    text = "no: 1,yes,null\nhow to pay,pay a bill,1\nwhere to go,go to town,0\n"
    (tmp_path / "- pairs #1.csv").write_text(text, encoding="utf-8")
    write_config(tmp_path / "config.yaml", [str(tmp_path / "- pairs #1.csv")])
    columns = {"text_a": "no: 1", "text_b": "yes", "label": "null"}
    assert load_config(tmp_path / "config.yaml") == expected(
        {"kind": "pairs", "path": str(tmp_path / "- pairs #1.csv"), **columns}
    )


def test_nothing_is_overwritten_or_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FlipkdError, match="there already"):
        write_config(path)
    assert path.read_text(encoding="utf-8") == "mine"
    with pytest.raises(FlipkdError, match=r"ends in \.yaml"):
        write_config(tmp_path / "config.toml")
    with pytest.raises(FlipkdError, match=r"--input: no such file: .*nowhere\.csv"):
        write_config(tmp_path / "other.yaml", [str(tmp_path / "nowhere.csv")])
    with pytest.raises(FlipkdError, match="cannot be written: No such file or directory"):
        write_config(tmp_path / "nowhere/other.yaml")
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]
