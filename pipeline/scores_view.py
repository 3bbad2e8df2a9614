"""Looking into the teacher's scores: rows by an SQL condition, and their distribution by label and split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import FlipkdError
from pipeline.config import Config
from pipeline.settings import store_of
from pipeline.stages import plan

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

# In the terminal; `-o` writes all columns.
SHOWN = ("teacher_score", "label", "target", "reason", "split", "source", "source_row", "text_a", "text_b")
QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}
WRITERS = {".csv": "write_csv", ".parquet": "write_parquet", ".jsonl": "write_ndjson"}


def scores_file(config: Config) -> Path:
    """`filtered.parquet` of a config if it is there, else its `scores.parquet`.

    Raises:
        FlipkdError: neither is in the store.
    """
    store = store_of(config)
    keys = {step.stage: step.key for step in plan(config, "filter", download=False)}
    for stage, name in (("filter", "filtered.parquet"), ("score", "scores.parquet")):
        path = store.path(stage, keys[stage]) / name
        if path.is_file():
            return path
    raise FlipkdError(
        f"no scores of this config in {store.root}. Compute them first: flipkd run CONFIG --until filter"
    )


def select_rows(path: Path, where: str | None, sort: str | None, rows: int | None) -> pl.DataFrame:
    """The rows of a scores file that fulfil a condition.

    Args:
        where: what stands after WHERE in SQL; all rows if None.
        sort: a column, from low to high; with a minus before it from high to low. Ties go by `pair_id`.
        rows: how many at most; all if None.

    Raises:
        FlipkdError: the condition or column does not fit; names the columns.
    """
    import polars as pl

    frame = pl.scan_parquet(path)
    columns = frame.collect_schema().names()
    known = f"the columns are {', '.join(columns)}"
    column = (sort or "").removeprefix("-")
    if sort is not None and column not in columns:
        raise FlipkdError(f"--sort {sort}: no such column; {known}")
    try:
        if where is not None:
            frame = frame.filter(pl.sql_expr(where))
        if sort is not None:
            frame = frame.sort([column, "pair_id"], descending=[sort.startswith("-"), False], nulls_last=True)
        return (frame if rows is None else frame.head(rows)).collect()
    except pl.exceptions.PolarsError as error:
        raise _bad_condition(where, error, known) from None


def _bad_condition(where: str | None, error: Exception, known: str) -> FlipkdError:
    reason = str(error).strip().splitlines()[0]
    return FlipkdError(
        f'--where {where}: {reason}. It is SQL, such as "label = 1 AND teacher_score < 0.5"; {known}'
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


def rows_table(frame: pl.DataFrame) -> Table:
    """Rows for the terminal; long texts wrap, CJK too."""
    from rich.table import Table
    from rich.text import Text

    columns = [name for name in SHOWN if name in frame.columns]
    table = Table(show_lines=True)
    for name in columns:
        text = name.startswith("text_")
        right = name in {"teacher_score", "label", "target", "source_row"}
        table.add_column(
            name, overflow="fold", ratio=1 if text else None, min_width=16 if text else None,
            justify="right" if right else "left",
        )  # fmt: skip
    for row in frame.select(columns).iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def describe_scores(path: Path) -> pl.DataFrame:
    """Counts, quantiles of the teacher's score, and shares beyond the bounds, by split and label.

    Returns:
        A row per split and label (null: unlabelled): `pairs`, the quantiles, and where the filter has run `kept`
        (pairs) and `beyond` (share of the group's pairs that the bounds drop, 0 to 1).
    """
    import polars as pl

    frame = pl.scan_parquet(path)
    score = pl.col("teacher_score")
    measures = [pl.len().alias("pairs")]
    measures += [score.quantile(q, "linear").alias(name) for name, q in QUANTILES.items()]
    if "kept" in frame.collect_schema():
        measures += [pl.col("kept").sum(), (~pl.col("kept")).mean().alias("beyond")]
    order = pl.Enum(["train", "dev", "test"])
    return (
        frame.group_by("split", "label")
        .agg(*measures)
        .sort(pl.col("split").cast(order), pl.col("label"), nulls_last=True)
        .collect()
    )


def description_table(frame: pl.DataFrame) -> Table:
    """`describe_scores` for the terminal."""
    from rich.table import Table

    table = Table(
        caption="teacher's score; beyond: share dropped by the bounds" if "beyond" in frame.columns else None
    )
    for name in frame.columns:
        table.add_column(name, justify="left" if name == "split" else "right")
    for row in frame.iter_rows(named=True):
        label = {None: "none"}.get(row["label"], str(row["label"]))
        share = {"beyond": f"{row['beyond']:.1%}"} if "beyond" in row else {}
        shown = row | {"label": label} | share
        table.add_row(*(_cell(value) for value in shown.values()))
    return table
