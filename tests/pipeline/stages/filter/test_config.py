from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.stages.filter.config import FilterConfig


def test_a_plain_number_is_short_for_the_bound_itself() -> None:
    assert FilterConfig.model_validate({"tau_pos": 0.3}) == FilterConfig.model_validate(
        {"tau_pos": {"value": 0.3}}
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"tau_pos": {}}, "exactly one of value, quantile, precision"),
        ({"tau_pos": {"value": 0.1, "quantile": 0.1}}, "exactly one of value, quantile, precision"),
        ({"tau_pos": 1.5}, "less than or equal to 1"),
        ({"tau_accept": 0.2, "tau_reject": 0.3}, "tau_reject must not lie above tau_accept"),
    ],
)
def test_bounds_that_say_nothing_or_two_things_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FilterConfig.model_validate(section)


def test_bounds_of_unlabelled_pairs_may_be_level() -> None:
    FilterConfig.model_validate({"tau_accept": 0.3, "tau_reject": 0.3})
