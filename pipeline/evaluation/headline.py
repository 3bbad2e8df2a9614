"""The numbers that a run ends with, out of `metrics.json` and `predictions.parquet`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCORES: tuple[str, ...] = ("teacher", "decoder", "encoder", "fused")
SHOWN_METRICS = {"f1": "F1", "accuracy": "accuracy", "auroc": "AUROC"}
EXAMPLES = 5


def read_metrics(export: Path) -> dict[str, Any]:
    """`metrics.json` of an artifact of `export` or `measure`."""
    return json.loads((export / "metrics.json").read_text(encoding="utf-8"))


def headline_split(metrics: dict[str, Any]) -> str:
    """The split that speaks for a student: test, or dev where test has no label."""
    return "test" if metrics["counts"]["test"]["labelled"] else "dev"


def metrics_table(metrics: dict[str, Any], split: str = "test") -> list[dict[str, str]]:
    """A row for each score: its name, and the headline metrics with their 95 % intervals."""
    found = metrics["splits"].get(split, {})
    return [
        {"score": name} | {title: interval(found[name].get(key, {})) for key, title in SHOWN_METRICS.items()}
        for name in SCORES
        if name in found
    ]


def interval(measured: dict[str, float | None]) -> str:
    """`0.812 (0.780 to 0.843)`; a dash where the metric is not defined."""
    value, low, high = (measured.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def example_pairs(export: Path, split: str = "test") -> list[dict[str, Any]]:
    """Five pairs of a split with all four scores, spread evenly from the best to the worst match."""
    import polars as pl

    pairs = (
        pl.scan_parquet(export / "predictions.parquet")
        .filter(pl.col("split") == split)
        .sort(["fused", "pair_id"], descending=[True, False])
        .select("text_a", "text_b", "label", *SCORES)
        .collect()
    )
    last = pairs.height - 1
    places = sorted({round(last * n / (EXAMPLES - 1)) for n in range(EXAMPLES)}) if last >= 0 else []
    return pairs[places].to_dicts()
