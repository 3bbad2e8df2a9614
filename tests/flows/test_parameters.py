"""The form of a deployment: its ranges, what it leaves alone, and how changes are put over a config file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from data.errors import FlipkdError
from flows.parameters import changes_of, load_changed
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.stages.filter.config import Bound, FilterConfig
from tests.tiny import tiny_config


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A config file whose paths are relative to its folder."""
    config = json.loads(tiny_config(tmp_path).model_dump_json(exclude_unset=True))
    config["prepare"]["inputs"][0]["path"] = "pairs.csv"
    config["teach"]["model"] = "./teacher"
    (tmp_path / "nightly.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(tmp_path / "nightly.yaml")


def load(file: str, changes: dict[str, Any]) -> Config:
    return load_changed(file, changes_of(Config).model_validate(changes))


@pytest.mark.parametrize("changes", [{}, {"filter": {}}, {"filter": None}, {"filter": {"tau_pos": None}}])
def test_what_is_left_out_stays(file: str, changes: dict[str, Any]) -> None:
    assert load(file, changes) == load_config(file)


def test_one_field_of_a_nested_section(file: str) -> None:
    before, after = load_config(file), load(file, {"distill": {"lora": {"rank": 2}}})
    assert after.distill.lora == before.distill.lora.model_copy(update={"rank": 2})
    assert after.model_copy(update={"distill": before.distill}) == before


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        (0.4, Bound(value=0.4)),
        ({"value": 0.4}, Bound(value=0.4)),
        ({"quantile": 0.2}, Bound(quantile=0.2)),
        ({"precision": 0.9, "value": None}, Bound(precision=0.9)),
    ],
)
def test_a_bound_replaces_the_bound(file: str, given: Any, bound: Bound) -> None:
    """The file has a quantile there: put field by field over it, two of them would be set."""
    assert load(file, {"filter": {"tau_pos": given}}).filter.tau_pos == bound


def test_a_list_is_replaced_and_its_paths_are_the_files(file: str, tmp_path: Path) -> None:
    inputs = [{"kind": "pairs", "path": "pairs.csv", "label": None}]
    (entry,) = load(file, {"prepare": {"inputs": inputs}}).prepare.inputs
    assert (entry.path, entry.kind) == (str(tmp_path / "pairs.csv"), "pairs")
    assert entry.model_dump()["label"] is None


def test_what_only_the_whole_config_can_know(file: str) -> None:
    """Bounds that cross: the form cannot see it, the run says it in one message."""
    with pytest.raises(FlipkdError, match=r"nightly\.yaml with the changes of this run") as error:
        load(file, {"filter": {"tau_accept": 0.2, "tau_reject": 0.6}})
    assert "tau_reject must not lie above tau_accept" in str(error.value)


def test_the_form_has_all_settings_of_the_config() -> None:
    """Every key of the config is there, with a description, and without a default that would be sent along."""
    config, form = Config.model_json_schema(), changes_of(Config).model_json_schema()
    for schema in [form, *form["$defs"].values()]:
        if "Changes" not in schema["title"]:
            continue
        for name, field in schema["properties"].items():
            assert "default" not in field, name
            assert field.get("type") != "boolean", name  # a switch cannot be left alone
            assert {"type": "null"} not in field.get("anyOf", []), name
    whole = {"Bound": "Quantile or precision", "Limit": "Warn and stop"}
    for title, schema in config["$defs"].items():
        changed = form["$defs"].get(f"{title.removesuffix('Config')}Changes")
        if changed is not None:
            assert list(changed["properties"]) == list(schema["properties"])
            assert changed["title"] == whole.get(title, changed["title"])


def test_ranges_stand_in_the_descriptions() -> None:
    definitions = changes_of(Config).model_json_schema()["$defs"]
    rank = definitions["LoraSettingsChanges"]["properties"]["rank"]
    assert (rank["minimum"], rank["maximum"]) == (1, 1024)
    assert rank["description"] == "Rank of A and B: a whole number from 1 to 1024."
    tau = definitions["FilterChanges"]["properties"]["tau_pos"]
    assert tau["description"] == "Lower bound of a kept positive: a number from -1 to 1."
    assert tau["anyOf"][0] == {"maximum": 1, "minimum": -1, "title": "Value", "type": "number"}


def described() -> Iterator[tuple[str, Any]]:
    for title, schema in changes_of(Config).model_json_schema()["$defs"].items():
        for name, field in schema.get("properties", {}).items():
            yield f"{title}.{name}", field


@pytest.mark.parametrize("name", ["FilterChanges", "TeachChanges", "DriftChanges", "PromoteChanges"])
def test_every_field_is_described(name: str) -> None:
    fields = {where: field for where, field in described() if where.startswith(f"{name}.")}
    assert fields
    assert all(field.get("description") for field in fields.values())


def test_a_deployments_default_is_empty() -> None:
    assert changes_of(FilterConfig)().model_dump(mode="json") == {}
    assert changes_of(FilterConfig)(tau_pos=0.4).model_dump(mode="json") == {"tau_pos": 0.4}  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, "auto"),
        ({"filter": {}}, "auto"),
        ({"filter": {"tau_pos": 0.31}}, "manual"),
        ({"filter": {"tau_pos": 0.31}, "promote": {"mode": "auto"}}, "auto"),
    ],
)
def test_a_run_with_changes_promotes_nothing_by_itself(file: str, changes: dict[str, Any], mode: str) -> None:
    settings = yaml.safe_load(Path(file).read_text("utf-8")) | {"promote": "auto"}
    Path(file).write_text(yaml.safe_dump(settings), "utf-8")
    assert load(file, changes).promote.mode == mode
