"""The words by which two texts differ."""

from __future__ import annotations

import pytest

from pipeline.inspection.words import differing


@pytest.mark.parametrize(
    ("text_a", "text_b", "bold"),
    [
        ("freeze my card", "cancel my card", (["freeze"], ["cancel"])),
        ("How do I pay?", "how do I pay", (["?"], [])),
        ("卡丢了", "卡坏了", (["丢"], ["坏"])),
        ("the same", "the same", ([], [])),
        ("", "all new", ([], ["all new"])),
    ],
)
def test_what_differs_is_bold(text_a: str, text_b: str, bold: tuple[list[str], list[str]]) -> None:
    found = differing(text_a, text_b)
    assert [text.plain for text in found] == [text_a, text_b]
    marked = [[text.plain[span.start : span.end] for span in text.spans if span.style == "bold"] for text in found]
    assert tuple(marked) == bold
