"""How the teacher's scores are distributed: counts, quantiles, histograms, and what other bounds would do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.errors import FlipkdError
from data.splits import SPLIT
from pipeline.inspection.rows import cell, check_column
from pipeline.terminal.visible import visible

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}
BINS = 20
BAR = 24  # columns of the longest bar


def describe_scores(rows: pl.LazyFrame, by: str | None = None) -> pl.DataFrame:
    """Counts, quantiles of the teacher's score, and shares beyond the bounds, by split and label.

    Args:
        by: a column whose values are told apart too.

    Returns:
        A row per split, value of `by` and label (null: unlabelled): `pairs`, the quantiles, and where it is known
        what the filter decides `kept` (pairs) and `beyond` (share of the group's pairs that the bounds drop, 0 to
        1).

    Raises:
        FlipkdError: there is no column `by`.
    """
    import polars as pl

    columns = rows.collect_schema().names()
    if by is not None:
        check_column(f"--by {by}", by, columns)
    score = pl.col("teacher_score")
    measures = [pl.len().alias("pairs")]
    measures += [score.quantile(q, "linear").alias(name) for name, q in QUANTILES.items()]
    if "kept" in columns:
        measures += [pl.col("kept").sum(), (~pl.col("kept")).mean().alias("beyond")]
    groups = list(dict.fromkeys(["split", *([by] if by else []), "label"]))
    order = [pl.col("split").cast(SPLIT), *groups[1:]]
    return rows.group_by(groups).agg(*measures).sort(*order, nulls_last=True).collect()


def description_table(
    frame: pl.DataFrame, bounds: Mapping[str, float] | None = None, by: str | None = None
) -> Table:
    """`describe_scores` for the terminal, with the filter's bounds by name."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    told = f"\n{in_words(bounds)}" if bounds else ""
    beyond = f"; beyond: share dropped by the bounds{told}" if "beyond" in frame.columns else ""
    table = Table(caption=f"teacher's score{beyond}", box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    digits = 2 if by else 3  # so that it fits into 80 columns
    for name in frame.columns:
        table.add_column(name, justify="right" if frame.schema[name].is_numeric() else "left")
    for row in frame.iter_rows(named=True):
        label = {None: "none"}.get(row["label"], str(row["label"]))
        share = {"beyond": f"{row['beyond']:.1%}"} if "beyond" in row else {}
        shown = row | {"label": label} | share
        table.add_row(*(Text(visible(cell(value, digits))) for value in shown.values()))
    return table


def in_words(bounds: Mapping[str, float]) -> str:
    """`tau_pos 0.566, tau_neg 0.730`."""
    return ", ".join(f"{name} {bound:.3f}" for name, bound in bounds.items())


def histogram(rows: pl.LazyFrame) -> pl.DataFrame:
    """Pairs by score and label: `from`, `to` (of `BINS` equal steps between the lowest and the highest score),
    `matches`, `others`, `unlabelled`."""
    import polars as pl

    found = rows.select("teacher_score", "label").collect()
    score = found["teacher_score"].to_numpy()
    edges = np.linspace(score.min(), score.max(), BINS + 1)
    counts = {
        name: np.histogram(score[found["label"].eq_missing(pl.Series([label], dtype=pl.Int8)).to_numpy()], edges)[
            0
        ]
        for name, label in (("matches", 1), ("others", 0), ("unlabelled", None))
    }
    return pl.DataFrame({"from": edges[:-1], "to": edges[1:], **counts})


def histogram_table(frame: pl.DataFrame) -> Table:
    """`histogram` with bars."""
    from rich.table import Table
    from rich.text import Text

    kinds = [(name, style) for name, style in KINDS if frame[name].sum()]
    longest = max(frame[name].max() for name, _ in kinds)  # pyright: ignore[reportArgumentType]
    width = BAR if len(kinds) < 3 else BAR // 2
    table = Table(caption="pairs by the teacher's score", box=None, padding=(0, 1))
    table.add_column("score", justify="right", no_wrap=True)
    for name, _ in kinds:
        table.add_column(name, no_wrap=True)
    for row in frame.iter_rows(named=True):
        bars = (
            Text("█" * round(width * row[name] / longest), style).append(
                f" {row[name]}" if row[name] else "", "dim"
            )
            for name, style in kinds
        )
        table.add_row(f"{row['from']:.3f}", *bars)
    return table


KINDS = (("matches", "blue"), ("others", "yellow"), ("unlabelled", "white"))


# ------------------------------------------------------------------------------------------------- bounds


def other_bounds(rows: pl.LazyFrame, steps: int = 21) -> pl.DataFrame:
    """What a bound would do, for bounds between the lowest and the highest score.

    Returns:
        `bound`; `matches_kept`, the share of train's matches at or above it (what `tau_pos` there keeps);
        `others_kept`, the share of train's other pairs at or below it (`tau_neg`); and of dev, `precision` and
        `recall` of calling a pair at or above it a match, and `precision_below`, the share of pairs at or below
        it that are none (what `tau_accept` and `tau_reject` go by). Null where there is nothing to divide by.

    Raises:
        FlipkdError: train has no labelled pair.
    """
    import polars as pl

    labelled = rows.drop_nulls("label").select("split", "label", "teacher_score").collect()
    sides = {
        (split, label): np.sort(labelled.filter(split=split, label=label)["teacher_score"].to_numpy())
        for split in ("train", "dev")
        for label in (0, 1)
    }
    scores = np.concatenate([sides["train", 0], sides["train", 1]])
    if not len(scores):
        raise FlipkdError("bounds are judged by labelled pairs of train, and there is none")
    bounds = np.round(np.linspace(scores.min(), scores.max(), steps), 3)
    above = {key: len(side) - np.searchsorted(side, bounds, "left") for key, side in sides.items()}
    below = {key: np.searchsorted(side, bounds, "right") for key, side in sides.items()}
    return pl.DataFrame(
        {
            "bound": bounds,
            "matches_kept": _share(above["train", 1], len(sides["train", 1])),
            "others_kept": _share(below["train", 0], len(sides["train", 0])),
            "precision": _share(above["dev", 1], above["dev", 0] + above["dev", 1]),
            "recall": _share(above["dev", 1], len(sides["dev", 1])),
            "precision_below": _share(below["dev", 0], below["dev", 0] + below["dev", 1]),
        }
    )


def _share(part: np.ndarray, whole: np.ndarray | int) -> pl.Series:
    import polars as pl

    whole = np.broadcast_to(whole, part.shape)
    shares = [float(one / of) if of else None for one, of in zip(part, whole, strict=True)]
    return pl.Series(shares, dtype=pl.Float64)


BOUND_TITLES = {
    "bound": "bound", "matches_kept": "tau_pos keeps", "others_kept": "tau_neg keeps", "precision": "precision",
    "recall": "recall", "precision_below": "precision below",
}  # fmt: skip
BOUND_NOTE = (
    "tau_pos keeps: matches of train at or above the bound; tau_neg keeps: others of train at or below. On dev: "
    "precision and recall of the pairs at or above, precision of the non-matches at or below. The two bounds are "
    "apart: each drops what the teacher contradicts most within its own class, so tau_pos may lie below tau_neg, "
    "and what lies between them is kept with either label. A dropped labelled pair keeps its label as `target`."
)


def bounds_table(frame: pl.DataFrame, now: Mapping[str, float]) -> Table:
    """`other_bounds` for the terminal."""
    from rich.table import Table

    told = f"Now {in_words(now)}. " if now else ""
    table = Table(caption=told + BOUND_NOTE, caption_justify="left")
    for name in frame.columns:
        table.add_column(BOUND_TITLES[name], justify="right")
    for bound, *shares in frame.iter_rows():
        table.add_row(f"{bound:.3f}", *("" if share is None else f"{share:.1%}" for share in shares))
    return table


def draw_bounds(frame: pl.DataFrame, now: Mapping[str, float], path: Path) -> None:
    """A figure of `other_bounds`; the format goes by the file's ending, .svg, .png or .pdf."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = {"matches_kept": ("#2f7ed8", "-"), "others_kept": ("#e8743b", "-"), "precision": ("#2f7ed8", ":"),
             "recall": ("#2f7ed8", "--"), "precision_below": ("#e8743b", ":")}  # fmt: skip
    for name, (colour, style) in lines.items():
        where = "dev, " if name in {"precision", "recall", "precision_below"} else "train, "
        axes.plot(frame["bound"], frame[name], color=colour, linestyle=style, label=where + BOUND_TITLES[name])
    for name, bound in now.items():
        axes.axvline(bound, color="#8a8f98", linewidth=0.8)
        axes.annotate(name, (bound, 1.01), xycoords=("data", "axes fraction"), fontsize=8, rotation=30)
    axes.set(xlabel="bound on the teacher's cosine", ylabel="share", ylim=(0, 1.02))
    axes.legend(fontsize=8)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise FlipkdError(f"-o {path}: cannot be written: {error}") from None
