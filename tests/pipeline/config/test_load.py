"""Configs from files, and changes to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from data.errors import FlipkdError
from pipeline.comparison.config import all_jobs, load_comparison
from pipeline.config.load import load_config, trial
from pipeline.stages.distill.config import LoraSettings
from tests.checkout import ROOT

GOOD = "prepare: {inputs: [{kind: pairs, path: pairs.csv}]}\n"


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(FlipkdError) as caught:
        load_config(path)
    return str(caught.value)


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    toml = '[[prepare.inputs]]\nkind = "pairs"\npath = "pairs.csv"\n[filter]\ntau_pos = 0.4\n'
    from_toml = load_config(write(tmp_path, toml, "config.toml"))
    assert from_toml == load_config(write(tmp_path, GOOD + "filter: {tau_pos: 0.4}\n"))
    assert from_toml.filter.tau_pos.value == 0.4


def test_the_embedded_demo_loads() -> None:
    config = load_config("demo")
    assert config.prepare.inputs[0].path == "package:data/sample/faq.csv"


def test_changes_go_over_the_file_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "distill: {lora: {rank: 4, alpha: 8}}\n")
    changes = {"distill.lora": {"rank": 2}, "distill.lora.dropout": 0.5, "prepare.inputs.0.path": "other.csv"}
    config = load_config(path, changes)
    assert (config.distill.lora.rank, config.distill.lora.dropout) == (2, 0.5)
    assert config.distill.lora.alpha == LoraSettings().alpha
    assert config.prepare.inputs[0].path == str(tmp_path / "other.csv")
    assert changes["distill.lora"] == {"rank": 2}  # the caller's mapping is not touched


def test_all_problems_at_once(tmp_path: Path) -> None:
    said = message(write(tmp_path, "seed: -1\nexport: {bootstrap: 3}\n"))
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == [
        "seed",
        "prepare",
        "export.bootstrap",
    ]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("a: [1", "c.yaml", "line 1, column 6: not valid YAML"),
        ("seed: 1\nseed: 2\n", "c.yaml", "line 2, column 1: not valid YAML: the key seed stands twice"),
        ("1: 2\n", "c.yaml", "the key 1 must be text"),
        ("- a\n", "c.yaml", "must be a mapping of sections"),
        ("", "c.yaml", "prepare: missing"),
        ("a = ", "c.toml", "not valid TOML"),
        ("{}", "c.json", "ends in .yaml, .yml or .toml"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, name: str, said: str) -> None:
    assert said in message(write(tmp_path, text, name))


def test_missing_config_tells_how_to_get_one(tmp_path: Path) -> None:
    assert "flipkd init" in message(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")))
def test_the_configs_of_the_benchmarks_load(path: Path) -> None:
    if "datasets" in yaml.safe_load(path.read_text("utf-8")):
        asked = load_comparison(path)
        students = {(dataset, variant, seed) for dataset, variant, seed, _ in all_jobs(asked, None)}
        assert len(students) == len(asked.datasets) * len(asked.chosen) * len(asked.seeds) >= 18
        return
    config = load_config(path)
    assert config.prepare.inputs[0].path.startswith("/")


def test_a_trial_keeps_all_but_the_promotion(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + "promote: {mode: auto, tolerance: 0.02}\n"))
    assert trial(config).promote == config.promote.model_copy(update={"mode": "manual"})
    assert trial(config).model_copy(update={"promote": config.promote}) == config
    manual = load_config(write(tmp_path, GOOD))
    assert trial(manual) is manual


def test_the_name_in_the_store_is_that_of_the_file(tmp_path: Path) -> None:
    def called(file: str, **promote: str) -> str:
        settings = {
            "store": "store",
            "prepare": {"inputs": [{"path": "a.csv", "kind": "pairs"}]},
            "promote": promote,
        }
        (tmp_path / file).write_text(json.dumps(settings), "utf-8")
        return load_config(tmp_path / file).promote.called

    assert load_config("demo").promote.called == "demo"
    assert called("Bank FAQ.v2.yaml") == "bank-faq-v2"
    assert called("faq.yaml", name="bank") == "bank"
    chinese = {called("银行.yaml"), called("医疗.yaml")}
    assert len(chinese) == 2
    assert all(name.startswith("config-") for name in chinese)
    # A store from before names came from files goes on under its name.
    (tmp_path / "store/current").mkdir(parents=True)
    (tmp_path / "store/current/default").symlink_to("../artifacts/export/" + "0" * 20)
    assert called("faq.yaml") == "default"
    (tmp_path / "store/current/faq").symlink_to("../artifacts/export/" + "0" * 20)
    assert called("faq.yaml") == "faq"
