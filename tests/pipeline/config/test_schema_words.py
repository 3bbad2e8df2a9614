"""What a key may hold, in words; and which key a location of pydantic's stands for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter

from pipeline.config.config import Config
from pipeline.config.schema_words import config_schema, describe, locate, shown


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (Annotated[float, Field(gt=0, lt=1)], "a number, above 0 and below 1"),
        (Annotated[int, Field(ge=1, le=8)], "a whole number from 1 to 8"),
        (str | None, "text or null"),
        (Literal["a", "b"], 'one of "a", "b"'),
        (Literal["a"], '"a"'),
        (list[bool], "a list of true or false"),
        (Annotated[list[int], Field(min_length=1)], "a list of at least one entry, each a whole number"),
        (tuple[str, str], "a list of 2 entries, each text"),
        (dict[str, int], "a mapping"),
        (Any, "any value"),
    ],
)
def test_describe(kind: Any, words: str) -> None:
    assert describe(TypeAdapter(kind).json_schema()) == words


def test_no_reference_is_left_in_a_schema() -> None:
    assert "$ref" not in str(config_schema(Config))
    assert "$defs" not in config_schema(Config)


def test_what_a_field_says_goes_before_what_its_section_says() -> None:
    filter = config_schema(Config)["properties"]["filter"]["properties"]
    assert filter["tau_pos"]["description"] == "Lower bound of a kept positive."
    assert filter["tau_pos"]["default"] == {"precision": None, "quantile": 0.05, "value": None}
    assert set(filter["tau_pos"]["properties"]) == {"value", "quantile", "precision"}


@pytest.mark.parametrize(
    ("location", "keys"),
    [
        (("filter", "tau_pos", "quantile"), ("filter", "tau_pos", "quantile")),
        (("prepare", "inputs", 0, "pairs", "label"), ("prepare", "inputs", 0, "label")),  # without the tag
        (("distill", "lora", "modules", "list[str]", 0), ("distill", "lora", "modules", 0)),  # without the branch
        (("distill", "nothing", "below"), ("distill", "nothing", "below")),
    ],
)
def test_locate(location: tuple[str | int, ...], keys: tuple[str | int, ...]) -> None:
    assert locate(location, config_schema(Config)).keys == keys


def test_values_are_shown_in_a_readable_length() -> None:
    assert shown("ä\n") == '"ä\\n"'
    assert len(shown("x" * 500)) == 80
    assert shown(object).startswith('"<class')
