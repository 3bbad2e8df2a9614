"""A comparison as people read it: Markdown tables, and a figure of means with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from pipeline.comparison.statistics import BEST, COST, TEACHER, is_teacher
from pipeline.evaluation.headline import SHOWN_METRICS
from pipeline.terminal.markdown import markdown_table

COLUMNS = ("decoder", "encoder", "fused", BEST)
SHOWN = {"f1": SHOWN_METRICS["f1"], "auroc": SHOWN_METRICS["auroc"], "ndcg@10": "nDCG@10", "recall@1": "recall@1"}
# Of what a training cost: the column's title, and how its numbers are written.
COSTS = {
    "seconds": ("seconds", ",.0f"),
    "tokens": ("tokens through the trained layers", ",.0f"),
    "peak_memory_gb": ("peak memory, GB", ".1f"),
}
COLOURS = {"decoder": "#b3541e", "encoder": "#1f6f8b", "fused": "#4a4e69"}


def markdown(summary: pl.DataFrame, against: str) -> str:
    """A section for each dataset: for each metric of `SHOWN` on test a row for each variant, means over seeds.

    Args:
        summary: from `pipeline.comparison.statistics.summarise`, with the same `against`.
    """
    parts = []
    for (dataset,), part in summary.group_by("dataset", maintain_order=True):
        parts.append(f"## {dataset}")
        there = set(part["metric"])
        parts += [_table(part.filter(metric=metric), metric, against) for metric in SHOWN if metric in there]
    return "\n\n".join(parts) + "\n"


def _table(rows: pl.DataFrame, metric: str, against: str) -> str:
    cells = {(r["variant"], r["score"], r["against"]): r for r in rows.to_dicts()}
    head = [SHOWN[metric], *COLUMNS[:3], f"best - {against}'s best", "best - teacher"]
    most = rows.filter(against="")["seeds"].max()
    names = rows["variant"].unique(maintain_order=True).to_list()
    lines = [[name, _value(cells[name, TEACHER, ""]), "", "", "", ""] for name in names if is_teacher(name)]
    for variant in [name for name in names if not is_teacher(name)]:
        found = [_value(cells.get((variant, score, ""))) for score in COLUMNS[:3]]
        gaps = [_gap(cells.get((variant, BEST, other))) for other in (against, TEACHER)]
        seeds = rows.filter(variant=variant, against="")["seeds"].max()
        # An unfinished comparison must not look like a whole one.
        few = "" if seeds == most else f" ({seeds} of {most} seeds)"
        lines.append([f"`{variant}`{few}", *found, *gaps])
    return markdown_table(head, lines).rstrip("\n")


def cost_table(values: pl.DataFrame) -> str:
    """What each variant's training took, means over seeds; empty where no manifest says.

    Args:
        values: from `pipeline.comparison.statistics.value_rows`.
    """
    parts = []
    for (dataset,), part in values.filter(score=COST).group_by("dataset", maintain_order=True):
        means = part.group_by("variant", "metric").agg(pl.mean("value"))
        cells = {(name, metric): value for name, metric, value in means.iter_rows()}
        lines = []
        for name in part["variant"].unique(maintain_order=True):
            shown = [
                "" if (value := cells.get((name, metric))) is None else format(value, form)
                for metric, (_, form) in COSTS.items()
            ]
            lines.append([name if is_teacher(name) else f"`{name}`", *shown])
        head = ["cost of training", *(title for title, _ in COSTS.values())]
        parts.append(f"### {dataset}\n\n{markdown_table(head, lines, right=head[1:])}")
    return "\n".join(parts)


def _value(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    deviation = "" if row["deviation"] is None else f" ± {row['deviation']:.3f}"
    return f"{row['mean']:.3f}{deviation} ({row['low']:.3f} to {row['high']:.3f})"


def _gap(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['mean']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"


def draw(summary: pl.DataFrame, path: Path, metric: str = "f1") -> None:
    """A panel for each dataset: every variant's scores with 95 % intervals, the teacher as a band.

    Where variants have teachers of their own, the band is the first variant's, the others are broken lines.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = summary.filter((pl.col("metric") == metric) & (pl.col("against") == ""))
    datasets = rows["dataset"].unique(maintain_order=True).to_list()
    variants = [name for name in rows["variant"].unique(maintain_order=True) if not is_teacher(name)]
    height = 1.4 + 0.42 * len(variants)
    figure = Figure(figsize=(1.8 + 4.2 * len(datasets), height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for panel, dataset in zip(panels, datasets, strict=True):
        part = rows.filter(dataset=dataset)
        teacher = part.filter(variant=TEACHER).row(0, named=True)
        panel.axvspan(teacher["low"], teacher["high"], color="#d9d9d9", zorder=0)
        panel.axvline(teacher["mean"], color="#7f7f7f", linewidth=1, zorder=1, label="teacher")
        for other in part.filter(pl.col("score") == TEACHER, pl.col("variant") != TEACHER)["mean"]:
            panel.axvline(other, color="#7f7f7f", linewidth=1, linestyle="--", zorder=1)
        for offset, (score, colour) in zip((0.22, 0, -0.22), COLOURS.items(), strict=True):
            found = part.filter(pl.col("score") == score)
            place = [len(variants) - 1 - variants.index(v) + offset for v in found["variant"]]
            mean, low, high = (found[name].to_numpy() for name in ("mean", "low", "high"))
            bars = [(mean - low).clip(0), (high - mean).clip(0)]
            panel.errorbar(mean, place, xerr=bars, fmt="o", markersize=4, color=colour, linewidth=1.2, label=score)
        panel.set_title(dataset)
        panel.set_xlabel(f"{SHOWN_METRICS[metric]} on test, mean over seeds, 95 % interval")
        panel.grid(axis="x", color="#eeeeee", zorder=-1)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(variants)), labels=variants[::-1])
    handles = panels[-1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=len(COLOURS) + 1, fontsize="small", frameon=False)
    figure.savefig(path, dpi=150)
