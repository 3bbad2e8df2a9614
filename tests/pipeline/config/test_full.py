"""The config that `flipkd init --full` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.config.config import Config
from pipeline.config.full import full_config
from pipeline.config.load import load_config
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.input_kinds import PairsFile

PRESET = "small_student"


def test_it_loads_and_is_what_suits_the_default_student(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(full_config(PRESET), encoding="utf-8")
    pairs = {"kind": "pairs", "path": str(tmp_path / "pairs.csv")}
    given = {"preset": PRESET, "prepare": {"inputs": [pairs]}, "promote": {"name": "config"}}
    assert load_config(path) == Config.model_validate(given)


def test_given_entries_stand_in_it_with_all_their_keys(tmp_path: Path) -> None:
    entries = [
        {"kind": "utterances", "path": "/a.csv", "text": "question", "id": "intent"},
        {"kind": "pairs", "path": "/b.tsv", "label": None, "column_names": ["text_a", "text_b"]},
    ]
    path = tmp_path / "config.yaml"
    path.write_text(full_config(PRESET, entries), encoding="utf-8")
    assert load_config(path).prepare == PrepareConfig.model_validate({"inputs": entries})
    assert set(yaml.safe_load(path.read_text("utf-8"))["prepare"]["inputs"][1]) == set(PairsFile.model_fields)


def test_every_key_stands_in_it_under_a_comment() -> None:
    lines = full_config(PRESET).splitlines()
    written = yaml.safe_load(full_config(PRESET))
    assert set(written) == set(Config.model_fields)
    assert set(written["distill"]) == set(type(Config.model_fields["distill"].default).model_fields)
    for number, line in enumerate(lines):
        is_key = ":" in line and not line.lstrip().startswith(("#", "-", "path:"))
        if is_key and line.split(":")[0].strip() != "inputs":
            assert lines[number - 1].lstrip().startswith("#"), line


@pytest.mark.parametrize(("kind", "keys"), [("utterances", 5), ("texts", 3), ("retrieval", 5)])
def test_the_examples_load_too(kind: str, keys: int) -> None:
    text = full_config(PRESET)
    example = [line.strip().removeprefix("# ") for line in text.splitlines() if line.startswith("    # ")]
    start = example.index(f"- kind: {kind}")
    is_entry = [line.startswith(("- ", "  ")) for line in example[start:]]
    end = start + is_entry.index(False) if False in is_entry else None
    (entry,) = yaml.safe_load("\n".join(example[start:end]))
    assert len(entry) == keys
    assert PrepareConfig.model_validate({"inputs": [entry]}).inputs[0].kind == kind
