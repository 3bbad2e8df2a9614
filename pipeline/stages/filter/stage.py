"""The stage `filter`: the dual threshold, which decides what the student learns from."""

from __future__ import annotations

from pipeline.contract.stage import Stage, Summary
from pipeline.stages.filter.config import FilterConfig


def _sentence(summary: Summary) -> str:
    kept = ", ".join(f"{count} {name}" for name, count in summary["train_kept"].items())
    bounds = ", ".join(f"{name} {found['bound']:.3f}" for name, found in summary["bounds"].items())
    return f"train keeps {kept}; {bounds}" if summary["enabled"] else f"train keeps {kept}; bounds not applied"


STAGE = Stage(
    package=__package__ or "",
    version=1,
    reads=("score",),
    title="keep the pairs the teacher vouches for",
    section=FilterConfig,
    sentence=_sentence,
    seeded=False,
    uses_gpu=False,
    results=(("filtered scores", "filtered.parquet"),),
)
