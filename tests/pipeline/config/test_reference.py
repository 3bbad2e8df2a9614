"""The page of the config's keys is what the models say, and holds every key."""

from __future__ import annotations

import re

import yaml

from pipeline.config.full import full_config
from pipeline.config.reference import page
from tests.checkout import ROOT


def _keys(values: object, prefix: str = "") -> set[str]:
    if isinstance(values, dict):
        return {key for name, value in values.items() for key in _keys(value, f"{prefix}.{name}".strip("."))}
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return {key for value in values for key in _keys(value, f"{prefix}[]")}
    return {prefix}


def test_the_page_is_not_stale() -> None:
    assert (ROOT / "docs/CONFIG.md").read_text("utf-8") == page()


def test_every_key_of_a_full_config_stands_there() -> None:
    listed = set(re.findall(r"^\| `([\w.\[\]]+)` \|", page(), re.MULTILINE))
    # One setting may be written as a mapping (`{quantile: 0.05}`), an absent section as null; `kind` is a heading.
    missing = {
        key
        for key in _keys(yaml.safe_load(full_config("small_student")))
        if not {key, key.rpartition(".")[0]} & listed
        and not any(other.startswith((f"{key}.", f"{key}[].")) for other in listed)
    }
    assert missing == {"prepare.inputs[].kind"}
    assert len(listed) > 120


def test_a_row_says_the_default_and_what_may_stand_there() -> None:
    row = next(line for line in page().splitlines() if line.startswith("| `filter.tau_pos` |"))
    assert "`{quantile: 0.05}`" in row
    assert "a number from -1 to 1" in row
    assert "Lower bound of a kept positive" in row
