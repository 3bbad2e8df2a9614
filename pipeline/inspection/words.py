"""The words by which two texts differ."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# A run of letters and digits, one sign of a script without spaces, or anything else.
_WORD = re.compile(r"[⺀-鿿豈-﫿가-힯]|[^\W_]+|\s+|[^\w\s]|_")


def differing(text_a: str, text_b: str) -> list[Text]:
    """Both texts, the words that only one of them has at that place in bold.

    Example:
        >>> [[span.style for span in text.spans] for text in differing("freeze my card", "cancel my card")]
        [['bold'], ['bold']]
    """
    from rich.text import Text

    words = [_WORD.findall(text) for text in (text_a, text_b)]
    folded = [[word.casefold() for word in side] for side in words]
    found = (Text(), Text())
    for what, *ends in difflib.SequenceMatcher(None, *folded, autojunk=False).get_opcodes():
        for text, side, begin, end in zip(found, words, ends[::2], ends[1::2], strict=True):
            text.append("".join(side[begin:end]), None if what == "equal" else "bold")
    return list(found)
