"""Texts from data, made harmless for a terminal."""

from __future__ import annotations

import re

# All control characters but line breaks and tabs: with them a text could move the cursor, rename the window, or
# hide what was printed before.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""The text with its control characters written out, as Python writes them.

    Example:
        >>> visible("card\x1b[2J frozen")
        'card\\x1b[2J frozen'
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)
