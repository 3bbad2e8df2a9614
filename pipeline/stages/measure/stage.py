"""The stage `measure`: a student's scores on dev and test without a `student/` to ship, for comparisons."""

from __future__ import annotations

from pipeline.contract.stage import Stage, Summary
from pipeline.stages.export.config import ExportConfig


def _sentence(summary: Summary) -> str:
    return "test AUROC " + ", ".join(
        f"{name} {metrics['auroc']:.3f}" for name, metrics in summary["test"].items() if "auroc" in metrics
    )


STAGE = Stage(
    package=__package__ or "",
    version=3,
    reads=("score", "filter", "distill"),
    title="measure the student",
    section=ExportConfig,
    section_name="export",
    sentence=_sentence,
    names=("distill.model",),
)
