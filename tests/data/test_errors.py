"""What an error of a library says, in one line."""

from __future__ import annotations

import json

import pytest

from data.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n  the first line  \nthe second"), "the first line"),
        (ValueError(), "ValueError"),
        (RuntimeError("out of memory\nat layer 3"), "RuntimeError: out of memory"),
        (KeyError("weight"), "KeyError: 'weight'"),
        (OSError("   \n"), "OSError"),
    ],
)
def test_one_line_says_it(error: BaseException, line: str) -> None:
    assert first_line(error) == line


def test_a_kind_of_value_error_says_which() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert first_line(caught.value).startswith("JSONDecodeError: Expecting property name")
