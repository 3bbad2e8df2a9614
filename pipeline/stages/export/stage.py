"""The stage `export`: the student that people load, its metrics and predictions, figures and the report."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.contract.stage import Stage, Summary
from pipeline.stages.export.config import ExportConfig


def _sentence(summary: Summary) -> str:
    aurocs = {name: metrics.get("auroc") for name, metrics in summary["metrics"].items()}
    told = {f"{summary['split']} AUROC": aurocs, "nDCG@10": summary.get("ndcg@10", {})}
    return "; ".join(f"{title} {_listed(values)}" for title, values in told.items() if values)


def _listed(values: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items() if value is not None)


STAGE = Stage(
    package=__package__ or "",
    version=3,
    reads=("prepare", "teach", "score", "filter", "distill"),
    title="measure and export the student",
    section=ExportConfig,
    sentence=_sentence,
    names=("distill.model",),
    results=(("report", "report.html"), ("student", "student"), ("predictions", "predictions.parquet")),
)
