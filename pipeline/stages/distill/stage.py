"""The stage `distill`: the student, a decoder-only LM with LoRA, trained on the pairs that the filter kept."""

from __future__ import annotations

from typing import Any

from pipeline.contract.identity import model_identity
from pipeline.contract.stage import Stage, Summary
from pipeline.stages.distill.config import DistillConfig
from pipeline.store.store import Store

VERSION = 2


def _check(config: Any, store: Store) -> None:
    from pipeline.stages.distill.check import check_student

    check_student(config.distill, store)


def _sentence(summary: Summary) -> str:
    return (
        f"{summary['objective']}, best of {summary['steps']} steps: {summary['best_step']}; dev AUROC "
        f"decoder {summary['dev_decoder_auroc']:.3f}, encoder {summary['dev_encoder_auroc']:.3f}"
    )


STAGE = Stage(
    package=__package__ or "",
    version=VERSION,
    reads=("filter", "score"),
    title="train the student",
    section=DistillConfig,
    sentence=_sentence,
    raw_inputs=lambda config, download: {"model": model_identity("distill.model", config.distill.model, download)},
    check=_check,
)
