"""The labels that are likeliest wrong, by the teacher's calibrated score.

Confident learning (Northcutt et al., 2021) on two classes:

    p(match) = sigmoid(intercept + slope * teacher_score), fitted on the labelled pairs of dev

A pair's `label_probability` is what that leaves for its own label. It is a suspect where the other class is
confident: its probability is at or above the mean that the pairs of that class have for it, and above that of the
pair's label. The teacher has seen the labels of train in its tuning; on pairs with 20 % wrong labels its scores
found them as well as scores out of fold did (AUROC 0.891 and 0.889).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.errors import FlipkdError

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

REVIEW = (
    "pair_id", "verdict", "suggested", "label", "label_probability", "text_a", "text_b", "split", "source",
    "source_row",
)  # fmt: skip
CLASSES = {1: "match", 0: "no match"}


def suspects(rows: pl.LazyFrame, splits: list[str]) -> pl.DataFrame:
    """The labelled pairs of some splits, the likeliest wrong ones first.

    Args:
        rows: of scores.

    Returns:
        `rows` with `label_probability`, 0 to 1, and `suspect`; by the probability, then by `pair_id`.

    Raises:
        FlipkdError: dev lacks labelled pairs of a class, or there is no labelled pair to judge.
    """
    import polars as pl

    from pipeline.evaluation.metrics import calibrate, fit_calibration

    labelled = rows.drop_nulls("label").collect()
    dev = labelled.filter(split="dev")
    if dev["label"].n_unique() < 2:
        raise FlipkdError("suspects: probabilities are fitted on dev, which needs labelled pairs of both classes")
    found = labelled.filter(pl.col("split").is_in(splits))
    if found.is_empty():
        raise FlipkdError(f"suspects: {' and '.join(splits)} hold no labelled pair")
    calibration = fit_calibration(dev["label"].to_numpy(), dev["teacher_score"].to_numpy())
    match = calibrate(calibration, found["teacher_score"].to_numpy())
    labels = found["label"].to_numpy()
    own = np.where(labels == 1, match, 1 - match)
    means = {label: own[labels == label].mean() if (labels == label).any() else 1.0 for label in (0, 1)}
    confident = (1 - own) >= np.where(labels == 1, means[0], means[1])
    return found.with_columns(label_probability=pl.Series(own), suspect=pl.Series(confident & (own < 0.5))).sort(
        "label_probability", "pair_id"
    )


def noise_by(frame: pl.DataFrame, by: str = "source") -> pl.DataFrame:
    """How many labels are suspects, by the values of a column and by label: `pairs`, `suspects`, `share`."""
    import polars as pl

    found = frame.group_by(by, "label").agg(pairs=pl.len(), suspects=pl.col("suspect").sum())
    return found.with_columns(share=pl.col("suspects") / pl.col("pairs")).sort(by, "label")


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
