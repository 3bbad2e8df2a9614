"""Learning curves over the share of training pairs with a label, from a comparison of benchmarks/few_labels.yaml.

    python benchmarks/plot_labels.py benchmarks/results/comparison.parquet docs/few_labels.png

Each point is a variant's best score, chosen by F1 on dev, on test: mean over seeds, bars from the lowest seed to
the highest. The full set of labels is that of benchmarks/paper.yaml, where nothing is unlabelled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from matplotlib.figure import Figure

SHARES = {"quarter": 0.25, "half": 0.5, "": 1.0}
LINES = {
    "sft_labelled": ("plain fine-tuning, labelled pairs alone", "#b3541e", "--"),
    "sft": ("plain fine-tuning, and pairs the dual threshold decides", "#b3541e", "-"),
    "flip_labelled": ("flip, labelled pairs alone", "#1f6f8b", "--"),
    "flip": ("flip, and pairs the dual threshold decides", "#1f6f8b", "-"),
}
ALL = {"sft_labelled": "sft", "flip_labelled": "flip"}  # with every label there is no other pair


def best(values: pl.DataFrame, dataset: str, variant: str, metric: str) -> list[float]:
    """The metric on test of each seed, by the score whose F1 on dev is best on average."""
    own = values.filter(dataset=dataset, variant=variant)
    if own.is_empty():
        return []
    on_dev = (
        own.filter(split="dev", metric="f1").group_by("score").agg(pl.col("value").mean()).sort("value", "score")
    )
    return own.filter(split="test", metric=metric, score=on_dev["score"][-1])["value"].to_list()


def main(
    comparison: Annotated[Path, typer.Argument(help="comparison.parquet, of several comparisons.")],
    out: Annotated[Path, typer.Argument(help="The figure to write.")],
    metric: Annotated[str, typer.Option(help="A metric of the comparison: f1, auroc, ...")] = "f1",
) -> None:
    """Draw a panel for each domain."""
    values = pl.read_parquet(comparison)
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, domain in zip(panels, ("mqp", "banking77"), strict=True):
        datasets = {share: f"{domain}_{ending}".rstrip("_") for ending, share in SHARES.items()}
        for name, (title, colour, style) in LINES.items():
            points = {}
            for share, dataset in datasets.items():
                found = best(values, dataset, name if share < 1 else ALL.get(name, name), metric)
                if found:
                    points[share] = (sum(found) / len(found), min(found), max(found))
            mean, low, high = zip(*points.values(), strict=True)
            bars = [
                [m - x for m, x in zip(mean, low, strict=True)],
                [x - m for m, x in zip(mean, high, strict=True)],
            ]
            panel.errorbar(list(points), mean, yerr=bars, color=colour, linestyle=style, marker="o", label=title)
        of_teacher = values.filter(score="teacher", split="test", metric=metric)
        teacher = [of_teacher.filter(dataset=dataset)["value"].item() for dataset in datasets.values()]
        panel.plot(list(datasets), teacher, color="#7f7f7f", linestyle=":", label="teacher")
        panel.set_xticks(list(SHARES.values()), labels=["1/4", "1/2", "all"])
        panel.set_title(domain)
        panel.set_xlabel("training pairs with a label")
        panel.set_ylabel(f"{metric.upper()} on test")
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    typer.run(main)
