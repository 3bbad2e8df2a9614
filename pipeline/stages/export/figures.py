"""The figures of an export: SVG, drawn so that one drawing suits light and dark pages.

Text and axes take the page's text colour (`currentColor`), the background stays clear.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.bootstrap import Numbers, bin_of

MATCH, NO_MATCH, UNLABELLED = "#2f7ed8", "#e8743b", "#8a8f98"
SCORE_COLOURS = {"teacher": "#8a8f98", "decoder": "#e8743b", "encoder": "#2f7ed8", "fused": "#2a9d6f"}
SCORE_TITLES = {
    "teacher": "Teacher: cosine",
    "decoder": "Student, decoder: probability of a match",
    "encoder": "Student, encoder: cosine",
    "fused": "Student, fused: probability of a match",
}
# Lower bounds of matches in the matches' colour, upper bounds of the others in theirs.
LINES = {
    "tau_pos": (MATCH, "--"),
    "tau_neg": (NO_MATCH, "--"),
    "tau_accept": (MATCH, ":"),
    "tau_reject": (NO_MATCH, ":"),
}
TERM_COLOURS = {"loss": "#8a8f98", "ce": "#e8743b", "mcl": "#2f7ed8", "dist": "#2a9d6f"}
PLACEHOLDER = "#010203"  # becomes currentColor
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
} | {
    f"{name}color": PLACEHOLDER
    for name in ("text.", "axes.edge", "axes.label", "axes.title", "xtick.", "ytick.", "legend.label")
}


def draw(path: Path, paint: Callable[[Axes], None]) -> None:
    """Draw one figure and write it as SVG; the same data gives the same bytes."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": path.stem}):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        paint(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    path.write_text(_for_pages(buffer.getvalue()), encoding="utf-8")


def _for_pages(svg: str) -> str:
    """The drawing without prologue, fixed size and ids that nothing refers to, coloured like the page's text."""
    svg = svg[svg.index("<svg") :].replace(PLACEHOLDER, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    # Matplotlib names fonts one by one; the page knows better.
    svg = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", svg)
    used = set(re.findall(r"#([\w-]+)", svg))
    return re.sub(r' id="([^"]+)"', lambda found: found.group() if found.group(1) in used else "", svg)


def histogram(
    path: Path, score: str, values: Numbers, labels: Sequence[int | None], lines: Mapping[str, float | None]
) -> None:
    """How a score is spread, by label, with thresholds and bounds as upright lines.

    Args:
        values: (n,), a cosine or a probability.
        labels: (n,) 1, 0, or None.
        lines: name to place; None is left out.
    """
    known = {name: place for name, place in lines.items() if place is not None}
    found = np.array([-1 if label is None else label for label in labels])
    low = min([0.0, *values.tolist(), *known.values()])
    edges = np.linspace(low, max([1.0, *known.values()]), 31)

    def paint(axes: Axes) -> None:
        for label, colour, name in ((1, MATCH, "match"), (0, NO_MATCH, "no match"), (-1, UNLABELLED, "no label")):
            if (found == label).any():
                axes.hist(
                    values[found == label],
                    edges.tolist(),
                    color=colour,
                    alpha=0.55,
                    label=name,
                    histtype="stepfilled",
                    linewidth=0,
                )
        for name, place in known.items():
            colour, style = LINES.get(name, (PLACEHOLDER, "-"))
            axes.axvline(place, color=colour, linestyle=style, linewidth=1.4, label=f"{name} {place:.3f}")
        axes.set(title=SCORE_TITLES[score], ylabel="pairs", xlim=(edges[0], edges[-1]))
        _legend_below(axes)

    draw(path, paint)


def calibration(
    path: Path, labels: Numbers, probabilities: Mapping[str, Numbers], bins: int, minimum: int = 5
) -> None:
    """Share of matches against probability, a point for each bin with at least `minimum` pairs."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=PLACEHOLDER, linewidth=0.6, linestyle=":")
        for name, values in probabilities.items():
            places = bin_of(values, bins)
            counts = np.bincount(places, minlength=bins)
            filled = counts >= minimum
            share = np.bincount(places, weights=labels, minlength=bins)[filled] / counts[filled]
            mean = np.bincount(places, weights=values, minlength=bins)[filled] / counts[filled]
            axes.plot(mean, share, marker="o", markersize=4, color=SCORE_COLOURS[name], label=name)
        axes.set(title="Calibration", xlabel="probability of a match", ylabel="share of matches")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        _legend_below(axes)

    draw(path, paint)


def losses(path: Path, log: pl.DataFrame) -> None:
    """The loss and its unweighted terms over the steps: thin as logged, bold smoothed."""
    step = log["step"].to_numpy()

    def paint(axes: Axes) -> None:
        for name, colour in TERM_COLOURS.items():
            column = log[name]
            if column.null_count() == len(column):
                continue
            smooth = column.rolling_mean(max(3, len(log) // 12), min_samples=1, center=True)
            axes.plot(step, column.to_numpy(), color=colour, linewidth=0.6, alpha=0.35)
            axes.plot(step, smooth.to_numpy(), color=colour, linewidth=1.6, label=name)
        axes.set(title="Training: loss and its terms", xlabel="step", ylim=(0, None))
        _legend_below(axes)

    draw(path, paint)


def dev_curve(path: Path, log: pl.DataFrame) -> None:
    """AUROC on dev at every evaluation."""

    def paint(axes: Axes) -> None:
        for name in ("decoder", "encoder"):
            seen = log.drop_nulls(f"dev_{name}_auroc")
            axes.plot(seen["step"], seen[f"dev_{name}_auroc"], marker="o", color=SCORE_COLOURS[name], label=name)
        axes.set(title="Training: AUROC on dev", xlabel="step")
        _legend_below(axes)

    draw(path, paint)


def _legend_below(axes: Axes) -> None:
    handles: list[Any] = axes.get_legend_handles_labels()[0]
    if handles:
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(handles) if len(handles) <= 4 else 3
        )


def draw_all(
    folder: Path,
    pairs: pl.DataFrame,
    probabilities: Mapping[str, Numbers],
    thresholds: Mapping[str, float],
    bounds: Mapping[str, float],
    bins: int,
    log: pl.DataFrame,
) -> dict[str, str]:
    """Every figure of the report, written to `folder`.

    Args:
        pairs: one split: `label` and the four scores.
        probabilities: of the four scores, for the same pairs.
        bounds: the filter's, drawn into the teacher's histogram.
        bins: of the calibration.
        log: the training log.

    Returns:
        The SVG texts by file stem: the scores' names, `calibration`, `losses`, `dev_auroc`.
    """
    folder.mkdir()
    labels = pairs["label"].to_list()
    for score, threshold in thresholds.items():
        lines = {"threshold": threshold, **(bounds if score == "teacher" else {})}
        histogram(folder / f"{score}.svg", score, pairs[score].to_numpy(), labels, lines)
    known = pairs["label"].is_not_null().to_numpy()
    if known.any():
        shown = {name: values[known] for name, values in probabilities.items()}
        calibration(folder / "calibration.svg", pairs["label"].drop_nulls().to_numpy(), shown, bins)
    losses(folder / "losses.svg", log)
    dev_curve(folder / "dev_auroc.svg", log)
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.svg"))}
