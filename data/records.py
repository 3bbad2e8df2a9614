"""What readers yield: rows, and rows that could not be read."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A row: its 1-based number (header and blank lines not counted) and its values by column.

    `given`: as it stands in the file, where `values` were made of it.
    """

    number: int
    values: dict[str, Any]
    given: dict[str, Any] | None = None


class Reject(NamedTuple):
    """A row that was not taken: its number, why, and what stood there (JSON; bytes that are no text as \\xNN)."""

    number: int
    reason: str
    raw: str


def has_surrogates(text: str) -> bool:
    """Whether the text holds half characters: bytes that were not UTF-8, or a broken JSON escape."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def escaped(text: str) -> str:
    """The text with bytes that were not UTF-8 as \\xNN, and other half characters as \\uNNNN."""
    if not has_surrogates(text):
        return text
    return "".join(
        f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text
    ).encode(errors="backslashreplace").decode()  # fmt: skip


def raw_json(values: Any) -> str:
    """A row as JSON that any reader opens; what JSON does not know is written as text."""
    try:
        return json.dumps(_readable(values), ensure_ascii=False, default=_as_text, allow_nan=False)
    except RecursionError:
        # Deeper than Python can go: the columns' names are all that is left to show.
        names = list(values) if isinstance(values, dict) else []
        return json.dumps({escaped(str(name)): "(nested too deeply)" for name in names}, ensure_ascii=False)


def _as_text(value: Any) -> str:
    return escaped(value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {escaped(str(key)): _readable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(inner) for inner in value]
    # JSON has no word for these.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
