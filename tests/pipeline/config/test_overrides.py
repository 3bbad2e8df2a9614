"""`--set key=value`, as values by dotted keys and as they are put into a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.errors import FlipkdError
from pipeline.config.load import load_config
from pipeline.config.overrides import parse_overrides, put
from pipeline.stages.prepare.input_kinds import PairsFile


def changed(raw: dict[str, Any], *overrides: str) -> dict[str, Any]:
    for key, value in parse_overrides(overrides).items():
        put(raw, key, value)
    return raw


def test_values_are_yaml() -> None:
    assert parse_overrides(["a.b=1", "a.c=[1, x]", "d=", "e={f: no}", "g='no'", "h=a=b"]) == {
        "a.b": 1, "a.c": [1, "x"], "d": None, "e": {"f": False}, "g": "no", "h": "a=b",
    }  # fmt: skip


def test_the_last_one_counts_and_goes_in_last() -> None:
    assert changed({}, "a.b=1", "a={c: 2}", "a.b=3") == {"a": {"c": 2, "b": 3}}
    assert list(parse_overrides(["x=1", "y=2", "x=3"]).items()) == [("y", 2), ("x", 3)]


def test_a_plain_value_on_the_way_gives_way_to_a_section() -> None:
    assert changed({"filter": {"tau_pos": 0.4}}, "filter.tau_pos.precision=0.9") == {
        "filter": {"tau_pos": {"precision": 0.9}}
    }


def test_a_list_takes_an_index_and_one_past_its_end() -> None:
    raw: dict[str, Any] = {"inputs": [{"path": "a"}]}
    assert changed(raw, "inputs.0.path=b", "inputs.1={path: c}") == {"inputs": [{"path": "b"}, {"path": "c"}]}


def test_overrides_of_a_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("prepare: {inputs: [{kind: pairs, path: pairs.csv}]}")
    config = load_config(
        path,
        parse_overrides(
            [
                "teach.learning_rate=3e-5",
                "prepare.inputs.0.path=other.csv",
                "prepare.inputs.1={kind: pairs, path: more.csv, label: null}",
                "distill.lora.modules=[q_proj, k_proj]",
                "filter.tau_pos.precision=0.9",
            ]
        ),
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
def test_wrong_overrides(override: str, said: str) -> None:
    with pytest.raises(FlipkdError) as caught:
        changed({"prepare": {"inputs": [{"path": "pairs.csv"}]}}, override)
    assert said in str(caught.value)
