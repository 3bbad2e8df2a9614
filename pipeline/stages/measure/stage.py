"""The stage `measure`: a student's scores on dev and test without a `student/` to ship, for comparisons."""

from __future__ import annotations

from typing import Any

from pipeline.contract.stage import Stage, Summary
from pipeline.stages.export.config import ExportConfig
from pipeline.stages.prepare.config import has_catalogue


def _raw_inputs(config: Any, download: bool) -> dict[str, str]:
    # What a catalogue is asked came later; of other pairs, what was measured before stays valid.
    return {"searches": "the catalogue"} if has_catalogue(config.prepare) else {}


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
    raw_inputs=_raw_inputs,
)
