"""Rows of scores by an SQL condition, a word or at random; shown in the terminal or written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import FlipkdError
from pipeline.inspection.words import differing
from pipeline.terminal.visible import visible

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType
    from rich.table import Table

# In the terminal; `-o` writes all columns.
TEXTS = ("text_a", "text_b")
SHOWN = (*TEXTS, "teacher_score", "label", "target", "reason", "split", "source", "source_row")
WIDE = 110  # columns of a terminal from which on rows stand in a table
WRITERS = {".csv": "write_csv", ".parquet": "write_parquet", ".jsonl": "write_ndjson"}


def select_rows(
    rows: pl.LazyFrame,
    where: str | None,
    sort: str | None,
    count: int | None,
    *,
    search: str | None = None,
    sample: int | None = None,
) -> tuple[pl.DataFrame, int]:
    """The rows that fulfil a condition.

    Args:
        where: what stands after WHERE in SQL, as Polars reads it; all rows if None.
        sort: a column, from low to high; with a minus before it from high to low. Ties go by `pair_id`.
        count: how many at most; all if None.
        search: a word or more that one of the two texts holds, whatever the case.
        sample: so many of them at random, the same ones each time.

    Returns:
        The rows, and how many fulfil the condition.

    Raises:
        FlipkdError: the condition or column does not fit; names the columns.
    """
    import polars as pl

    frame = rows
    columns = frame.collect_schema().names()
    known = f"the columns are {', '.join(columns)}"
    column = (sort or "").removeprefix("-")
    if sort is not None:
        check_column(f"--sort {sort}", column, columns)
    if search is not None:
        word = pl.lit(search.lower())
        texts = [pl.col(name).str.to_lowercase().str.contains(word, literal=True) for name in TEXTS]
        frame = frame.filter(pl.any_horizontal(*texts))
    try:
        if where is not None:
            frame = frame.filter(pl.sql_expr(where))
        if sample is not None:
            # The rows with the smallest hashes: others that come or go do not change which of two is taken.
            frame = frame.sort(pl.col("pair_id").hash(seed=0), "pair_id").head(sample)
        if sort is not None:
            frame = frame.sort([column, "pair_id"], descending=[sort.startswith("-"), False], nulls_last=True)
        taken, there = pl.collect_all([frame if count is None else frame.head(count), frame.select(pl.len())])
    except pl.exceptions.PolarsError as error:
        raise _bad_condition(where, error, known) from None
    return taken, there.item()


def check_column(option: str, name: str, columns: Sequence[str]) -> None:
    """Check that what an option names is a column.

    Args:
        option: as it was given, with its value.

    Raises:
        FlipkdError: it is none; names the columns.
    """
    if name not in columns:
        raise FlipkdError(f"{option}: no such column; the columns are {', '.join(columns)}")


def _bad_condition(where: str | None, error: Exception, known: str) -> FlipkdError:
    reason = str(error).strip().splitlines()[0]
    quoted = ""
    if "found 'group' clause" in reason:
        quoted = '. `group` is a word of SQL: write "group" with double quotes'
    return FlipkdError(
        f'--where {where}: {reason}{quoted}. It is SQL as Polars reads it, such as "label = 1 AND teacher_score '
        f'< 0.5"; {known}'
    )


def write_rows(frame: pl.DataFrame, path: Path) -> None:
    """Write rows as CSV, Parquet or JSON lines, by the file's ending.

    Raises:
        FlipkdError: another ending, or the file cannot be written.
    """
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise FlipkdError(f"-o {path}: the name must end in {', '.join(WRITERS)}")
    try:
        getattr(frame, writer)(path)
    except OSError as error:
        raise FlipkdError(f"-o {path}: cannot be written: {error}") from None


def shown_rows(frame: pl.DataFrame, width: int, more: tuple[str, ...] = ()) -> RenderableType:
    """Rows for a terminal: a table where it is wide enough, else a block for each.

    Args:
        width: of the terminal, in columns.
        more: columns to show besides `SHOWN`.
    """
    return rows_table(frame, more) if width >= WIDE else rows_blocks(frame, more)


def rows_table(frame: pl.DataFrame, more: tuple[str, ...] = ()) -> Table:
    """Rows as a table; long texts wrap, CJK too."""
    from rich.table import Table
    from rich.text import Text

    columns = [name for name in dict.fromkeys((*TEXTS, *more, *SHOWN)) if name in frame.columns]
    table = Table(show_lines=True)
    for name in columns:
        text = name.startswith("text_")
        table.add_column(
            name, overflow="fold", ratio=1 if text else None, min_width=16 if text else None,
            justify="right" if frame.schema[name].is_numeric() else "left",
        )  # fmt: skip
    for row in frame.select(columns).iter_rows():
        table.add_row(*(Text(visible(cell(value))) for value in row))
    return table


def rows_blocks(frame: pl.DataFrame, more: tuple[str, ...] = ()) -> RenderableType:
    """Rows one below the other, as psql's `\\x`: the texts with the words that differ in bold, then the rest."""
    from rich.console import Group
    from rich.rule import Rule
    from rich.text import Text

    parts: list[RenderableType] = []
    names = [name for name in dict.fromkeys((*more, *SHOWN)) if name in frame.columns and name not in TEXTS]
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        parts.append(Rule(f"{number}", align="left", style="dim"))
        parts += differing(visible(row["text_a"]), visible(row["text_b"]))
        told = [f"{name} {visible(cell(row[name]))}" for name in names if row[name] is not None]
        parts.append(Text("  ".join(told), style="dim"))
    return Group(*parts)


def cell(value: object, digits: int = 3) -> str:
    """A value as it is shown; nothing for null."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
