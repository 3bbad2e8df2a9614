"""Markdown tables, as another reader takes them."""

from __future__ import annotations

import doctest

from markdown_it import MarkdownIt

import pipeline.terminal.markdown
from pipeline.terminal.markdown import markdown_table


def test_the_example_of_the_docstring() -> None:
    assert doctest.testmod(pipeline.terminal.markdown).failed == 0


def test_a_reader_of_markdown_finds_every_cell() -> None:
    table = markdown_table(["", "score", "F1"], [["a", "fused", "0.8"], ["b", "", "–"]], right=["F1"])
    tokens = MarkdownIt().enable("table").parse(f"## Heading\n\n{table}")
    cells = [token.content for token in tokens if token.type == "inline"]
    assert cells == ["Heading", "", "score", "F1", "a", "fused", "0.8", "b", "", "–"]
    aligned = [token.attrs.get("style") for token in tokens if token.type == "th_open"]
    assert aligned == [None, None, "text-align:right"]
