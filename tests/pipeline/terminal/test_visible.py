from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from pipeline.terminal.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("freeze my card\n\tplease", "freeze my card\n\tplease"),
        ("\x1b]0;renamed\x07", "\\x1b]0;renamed\\x07"),
        ("over\rwritten \x9b2J \x00", "over\\x0dwritten \\x9b2J \\x00"),
        ("冻结我的卡 é 👍 \u200f", "冻结我的卡 é 👍 \u200f"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_terminal_gets_brackets_as_they_are() -> None:
    """What the tables of the command line do: rich would take the words in brackets for markup, or stumble."""
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=80).print(Text(visible("a [/b] [red]c[/red] \x1b[31m")))
    assert out.getvalue().strip() == "a [/b] [red]c[/red] \\x1b[31m"
