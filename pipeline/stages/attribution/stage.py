"""The stage `attribution`: which sites of the student carry the signal."""

from __future__ import annotations

from pipeline.contract.stage import Stage, Summary
from pipeline.stages.distill.config import DistillConfig


def _sentence(summary: Summary) -> str:
    def shown(best: Summary) -> str:
        return f"{best['auroc']:.3f} (layer {best['layer']}, {best['module']})"

    inputs, adapter = summary["best_input"], summary["best_adapter"]
    return f"best dev AUROC of one site: A's output {shown(adapter)}, its plain input {shown(inputs)}"


STAGE = Stage(
    package=__package__ or "",
    version=2,
    reads=("score", "distill"),
    title="look for the signal, site by site",
    section=DistillConfig,
    section_name="distill",  # all that it needs of it stands in the key already, as distill's
    sentence=_sentence,
    seeded=False,
    names=("distill.model",),
)
