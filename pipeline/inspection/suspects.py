"""Suspected labels (`pipeline.evaluation.suspects`) in the terminal, and in a file for a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import FlipkdError

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

REVIEW = (
    "pair_id", "verdict", "suggested", "label", "label_probability", "text_a", "text_b", "split", "source",
    "source_row",
)  # fmt: skip
CLASSES = {1: "match", 0: "no match"}


def noise_table(frame: pl.DataFrame) -> Table:
    """`noise_by` for the terminal."""
    from rich.table import Table
    from rich.text import Text

    from pipeline.terminal.visible import visible

    table = Table(title="suspected labels", title_justify="left")
    for name in frame.columns:
        table.add_column(name, justify="right" if frame.schema[name].is_numeric() and name != "label" else "left")
    for value, label, pairs, found, share in frame.iter_rows():
        table.add_row(Text(visible(str(value))), CLASSES[label], str(pairs), str(found), f"{share:.1%}")
    return table


def write_review(frame: pl.DataFrame, path: Path) -> None:
    """Write suspects for a spreadsheet: an empty column `verdict` to fill in, and what the teacher would say.

    `prepare.overrides` reads the file back (`pipeline.stages.prepare.overrides`).

    Raises:
        FlipkdError: the name does not end in .csv, or the file is there, or cannot be written.
    """
    import polars as pl

    if path.suffix != ".csv":
        raise FlipkdError(f"-o {path}: the name must end in .csv; it is made for a spreadsheet")
    if path.exists():
        raise FlipkdError(f"-o {path} is there already, perhaps with verdicts; give another name")
    other = (1 - pl.col("label")).replace_strict(CLASSES, return_dtype=pl.String)
    shown = frame.with_columns(
        verdict=pl.lit(""), suggested=other, label=pl.col("label").replace_strict(CLASSES, return_dtype=pl.String)
    )
    try:
        # The byte order mark: without it spreadsheets take UTF-8 for something else.
        shown.select(REVIEW).write_csv(path, include_bom=True, float_precision=4)
    except OSError as error:
        raise FlipkdError(f"-o {path}: cannot be written: {error}") from None
