"""How a section of the config behaves: what it refuses, and what a plain value is short for."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import ValidationError

from pipeline.contract.section import SHORT_FOR, Section, Share


class Bound(Section):
    short_for: ClassVar = "value"
    value: Share | None = None
    quantile: float | None = None


class Named(Section):
    short_for: ClassVar = "path"
    path: str
    rows: int = 1


def test_a_plain_value_stands_for_the_section() -> None:
    assert Bound.model_validate(0.5) == Bound(value=0.5)
    assert Bound.model_validate({"quantile": 1}) == Bound(quantile=1.0)
    assert Named.model_validate("a.csv") == Named(path="a.csv")
    assert Bound.model_json_schema()[SHORT_FOR] == "value"
    assert SHORT_FOR not in Section.model_json_schema()


@pytest.mark.parametrize("wrong", [True, "0.5", [0.5], None])
def test_no_other_kind_of_value_does(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Bound.model_validate(wrong)


def test_a_truth_value_is_no_number_and_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="not a number"):
        Named(path="a", rows=True)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Named.model_validate({"path": "a", "row": 2})
    assert Named.model_validate({"path": "a", "rows": "3"}).rows == 3  # YAML reads 3e0 as text


def test_nothing_changes_after_validation() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Named(path="a").rows = 2
