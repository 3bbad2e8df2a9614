"""The stage `score`: each distinct text embedded once, and the teacher's similarity of each pair."""

from __future__ import annotations

from typing import Any

from pipeline.contract.identity import model_identity
from pipeline.contract.stage import Stage, Summary
from pipeline.stages.score.config import ScoreConfig
from pipeline.store.store import Store


def _raw_inputs(config: Any, download: bool) -> dict[str, str]:
    scorer = config.score.cross_encoder
    if scorer is None:
        return {}
    return {"cross_encoder": model_identity("score.cross_encoder.model", scorer.model, download)}


def _check(config: Any, store: Store) -> None:
    if config.score.cross_encoder is not None:
        from pipeline.stages.score.check import check_pair_scorer

        check_pair_scorer(config.score.cross_encoder)


def _sentence(summary: Summary) -> str:
    aurocs = (summary.get("auroc") or {}).items()
    measured = ", ".join(f"{split} {value:.3f}" for split, value in aurocs if value is not None)
    cut = "".join(f", {found['texts']} of them cut" for found in summary.get("truncated", [])[:1])
    return f"{summary['pairs']} pairs of {summary['texts']} texts{cut}" + (
        f"; AUROC {measured}" if measured else ""
    )


STAGE = Stage(
    package=__package__ or "",
    version=2,
    reads=("prepare", "teach"),
    title="score every pair with the teacher",
    section=ScoreConfig,
    sentence=_sentence,
    seeded=False,
    results=(("scores", "scores.parquet"), ("candidates", "candidates.parquet")),
    raw_inputs=_raw_inputs,
    check=_check,
)
