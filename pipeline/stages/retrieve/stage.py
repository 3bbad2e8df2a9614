"""The stage `retrieve`: how well the student finds the right FAQ entry for a question, beside its teacher."""

from __future__ import annotations

from typing import Any

from data.errors import FlipkdError
from pipeline.contract.stage import Stage, Summary
from pipeline.stages.retrieve.config import RetrieveConfig


def _check_first(config: Any) -> None:
    if not any(file.kind == "utterances" for file in config.prepare.inputs):
        raise FlipkdError(
            "retrieve: prepare.inputs holds pairs alone, which do not say which texts belong to one FAQ entry; "
            "add a file of utterances (kind: utterances, with the columns `text` and `id`). Pairs that name a "
            "`catalogue` are ranked by every run: see retrieval.json in its export"
        )


def _sentence(summary: Summary) -> str:
    ndcg = ", ".join(f"{name} {metrics['ndcg@10']:.3f}" for name, metrics in summary["metrics"].items())
    return f"{summary['queries']} questions to {summary['entries']} FAQ entries, nDCG@10: {ndcg}"


STAGE = Stage(
    package=__package__ or "",
    version=2,
    reads=("prepare", "teach", "distill", "measure"),
    title="rank FAQ entries with the student",
    section=RetrieveConfig,
    sentence=_sentence,
    names=("distill.model",),
    check_first=_check_first,
)
