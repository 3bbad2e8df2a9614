"""Looking into the teacher's scores: rows by an SQL condition, and their distribution by label and split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.stages.filter.config import FilterConfig
from pipeline.store.store import file_problem
from pipeline.terminal.visible import visible

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
        FlipkdError: neither is in the store, or the file is damaged.
    """
    store = store_of(config)
    keys = {step.stage: step.key for step in plan(config, "filter", download=False)}
    for stage, name in (("filter", "filtered.parquet"), ("score", "scores.parquet")):
        folder = store.path(stage, keys[stage])
        if not folder.exists():
            continue
        # Of the other files (embeddings may be large) nothing is shown, so only this one is verified.
        entry = store.manifest(stage, keys[stage]).files.get(name)
        problem = file_problem(folder / name, name, entry) if entry else f"its manifest names no {name}"
        if problem:
            raise FlipkdError(f"the artifact {folder} is damaged ({problem}); run `flipkd run CONFIG` to mend it")
        return folder / name
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
        table.add_row(*(Text(visible(_cell(value))) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def bounds_of(path: Path) -> dict[str, float]:
    """The bounds that the filter wrote into its file's metadata; none in a file of scores, or if it was off."""
    from data.schema import read_metadata

    metadata: dict[str, Any] = read_metadata(path)
    found = metadata.get("bounds", {}) if metadata.get("enabled") else {}
    return {name: found[name]["bound"] for name in FilterConfig.model_fields if name in found}


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


def description_table(frame: pl.DataFrame, bounds: Mapping[str, float] | None = None) -> Table:
    """`describe_scores` for the terminal, with the filter's bounds by name."""
    told = f" ({', '.join(f'{name} {bound:.3f}' for name, bound in bounds.items())})" if bounds else ""
    from rich.table import Table

    beyond = f"; beyond: share dropped by the bounds{told}" if "beyond" in frame.columns else ""
    table = Table(caption=f"teacher's score{beyond}")
    for name in frame.columns:
        table.add_column(name, justify="left" if name == "split" else "right")
    for row in frame.iter_rows(named=True):
        label = {None: "none"}.get(row["label"], str(row["label"]))
        share = {"beyond": f"{row['beyond']:.1%}"} if "beyond" in row else {}
        shown = row | {"label": label} | share
        table.add_row(*(_cell(value) for value in shown.values()))
    return table
