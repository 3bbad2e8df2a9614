"""Sizes as they are typed and shown."""

from __future__ import annotations

import pytest

from data.errors import FlipkdError
from pipeline.cli.garbage_view import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20_000_000_000),
        ("500 mb", 500_000_000),
        ("1.5TB", 1_500_000_000_000),
        ("2GiB", 2 * 1024**3),
        ("7", 7),
    ],
)
def test_sizes(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "20 elephants", "-1GB", "GB", "1iB", "1e3"])
def test_no_sizes(text: str):
    with pytest.raises(FlipkdError, match="no size"):
        parse_size(text)
