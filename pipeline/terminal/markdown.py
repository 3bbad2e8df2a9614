"""Tables in Markdown, for files and for Prefect's page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> str:
    r"""A table, each line with its end.

    Args:
        head: titles of the columns, which may be empty. rows: as many cells each.
        right: titles of the columns that are set to the right.

    Example:
        >>> markdown_table(["score", "F1"], [["fused", "0.769"]], right=["F1"])
        '| score | F1 |\n| --- | ---: |\n| fused | 0.769 |\n'
    """
    lines = [head, ["---:" if title in right else "---" for title in head], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
