"""Attribution as people read it: a heat map of layers by modules, and a Markdown table of the modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from pipeline.terminal.markdown import markdown_table

VIEWS = {"auroc_input": "plain input", "auroc_adapter": "A's output"}


def markdown(table: pl.DataFrame) -> str:
    """For each module the mean over the layers of either view, and the best layer.

    Args:
        table: what `attribution.parquet` holds.
    """
    head = ["module", *(f"{title}: {what}" for title in VIEWS.values() for what in ("mean", "best layer"))]
    lines = []
    for (module,), part in table.group_by("module", maintain_order=True):
        cells = [f"`{module}`"]
        for column in VIEWS:
            known = part.drop_nulls(column).sort(column, descending=True, maintain_order=True)
            best = None if known.is_empty() else known.row(0, named=True)
            cells += ["", ""] if best is None else [
                f"{float(known[column].to_numpy().mean()):.3f}", f"{best['layer']}: {best[column]:.3f}",
            ]  # fmt: skip
        lines.append(cells)
    return markdown_table(head, lines)


def grid(table: pl.DataFrame, column: str) -> np.ndarray:
    """One view's AUROC, (layers, modules), NaN where there is none; modules in the order of the table.

    Where several layers of a block bear one name (experts), the best of them counts.
    """
    layers, modules = _axes(table)
    cells = np.full((len(layers), len(modules)), np.nan)
    for layer, module, value in table.select("layer", "module", column).iter_rows():
        place = layers.index(layer), modules.index(module)
        cells[place] = np.fmax(cells[place], np.nan if value is None else value)
    return cells


def draw(table: pl.DataFrame, teacher: float, path: Path) -> None:
    """Two panels, plain inputs and A's outputs, in one scale of colours; sites of the encoder have a frame.

    Args:
        table: what `attribution.parquet` holds. teacher: its AUROC on the same pairs, for the title.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    layers, modules = _axes(table)
    figure = Figure(figsize=(2.2 + 1.1 * len(modules), 1.8 + 0.24 * len(layers)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(VIEWS), sharey=True)
    cells = {column: grid(table, column) for column in VIEWS}
    everything = np.concatenate([values.ravel() for values in cells.values()])
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    look = {"aspect": "auto", "origin": "lower", "cmap": "viridis", "vmin": low, "vmax": high}
    images = [panel.imshow(cells[column], **look) for panel, column in zip(panels, VIEWS, strict=True)]
    for panel, (column, title) in zip(panels, VIEWS.items(), strict=True):
        for (row, place), value in np.ndenumerate(cells[column]):
            if not np.isnan(value):
                dark = value < (low + high) / 2
                panel.text(
                    place, row, f"{value:.2f}", ha="center", va="center", fontsize=6,
                    color="white" if dark else "black",
                )  # fmt: skip
        panel.set_title(title)
        panel.set_xticks(range(len(modules)), labels=modules, rotation=60, ha="right", fontsize=8)
    for layer, module in table.filter("site").select("layer", "module").iter_rows():
        corner = modules.index(module) - 0.5, layers.index(layer) - 0.5
        panels[-1].add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#e8743b", linewidth=1.2))
    panels[0].set_yticks(range(len(layers)), labels=[str(layer) for layer in layers], fontsize=8)
    panels[0].set_ylabel("layer")
    figure.suptitle(f"AUROC on dev of one site's representation alone (teacher: {teacher:.3f})", fontsize=10)
    figure.colorbar(images[0], ax=list(panels), shrink=0.8)
    figure.savefig(path, dpi=150)


def _axes(table: pl.DataFrame) -> tuple[list[int], list[str]]:
    return sorted(set(table["layer"])), table["module"].unique(maintain_order=True).to_list()
