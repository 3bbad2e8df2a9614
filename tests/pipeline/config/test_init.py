"""The config that `flipkd init` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.init import commented_config, write_config
from pipeline.config.load import load_config
from pipeline.stages.prepare.config import PairsFile, PrepareConfig


def test_it_loads_and_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write_config(path)
    pairs = PairsFile(path=str(tmp_path / "pairs.csv"))
    assert load_config(path) == Config(prepare=PrepareConfig(inputs=[pairs]))


def test_every_key_stands_in_it_under_a_comment() -> None:
    lines = commented_config().splitlines()
    written = yaml.safe_load(commented_config())
    assert set(written) == set(Config.model_fields)
    assert set(written["distill"]) == set(type(Config.model_fields["distill"].default).model_fields)
    for number, line in enumerate(lines):
        is_key = ":" in line and not line.lstrip().startswith(("#", "-", "path:"))
        if is_key and line.split(":")[0].strip() != "inputs":
            assert lines[number - 1].lstrip().startswith("#"), line


def test_the_utterances_example_loads_too() -> None:
    text = commented_config()
    example = [line.strip().removeprefix("# ") for line in text.splitlines() if line.startswith("    # ")]
    start = example.index("- kind: utterances")
    entries = yaml.safe_load("\n".join(example[start : start + 4]))
    assert PrepareConfig.model_validate({"inputs": entries}).inputs[0].kind == "utterances"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FlipkdError, match="there already"):
        write_config(path)
    assert path.read_text(encoding="utf-8") == "mine"
    with pytest.raises(FlipkdError, match=r"ends in \.yaml"):
        write_config(tmp_path / "config.toml")
