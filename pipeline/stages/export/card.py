"""The model card of a student: how good it is, what it learned from, its limits and licences.

It is set behind what `models.student.folder` says of how to use the student, and carries the metadata that the hub
reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from data.errors import FlipkdError
from models.loading.licence import licence_of
from models.loading.names import find_model
from models.student.flipkd_student import SETTINGS
from pipeline.evaluation.headline import SCORES, interval
from pipeline.evaluation.verdict import STUDENT, verdict
from pipeline.stages.export.report import HEADLINE, METRIC_TITLES, template
from pipeline.store.manifest import Manifest

HUB = "hub:"
FOUND = ("recall@1", "recall@10", "ndcg@10")


def write_card(
    student: Path, base: str, metrics: Mapping[str, Any], split: str, manifests: Mapping[str, Manifest]
) -> None:
    """Set what was measured, and what the hub reads, into the card of a student's folder.

    Args:
        base: the base model's name, as the config has it.
        metrics: as in `metrics.json`. split: the one whose figures stand in the card.
    """
    path = student / "README.md"
    card = ModelCard(path.read_text("utf-8"))
    taught = manifests["teach"].summary
    teachers = [str(each.get("model", "not named")) for each in (taught, *taught.get("others", ()))]
    licences = {name: _licence(name) for name in (base, *teachers)}
    told = template("card.md", interval=interval, code=_code).render(
        base=base,
        found=FOUND,
        headline=HEADLINE,
        licences=licences,
        manifests=manifests,
        metrics=metrics,
        scores=SCORES,
        settings=json.loads((student / SETTINGS).read_text("utf-8")),
        split=split,
        teachers=teachers,
        titles=METRIC_TITLES,
        verdict=verdict(metrics, split),
    )
    card.text = f"{card.text.rstrip()}\n\n{told}\n"
    licence, identity = licences[base], manifests["distill"].inputs["model"]
    begun = card.data.to_dict()
    card.data = ModelCardData(
        library_name=begun["library_name"],
        tags=begun["tags"],
        pipeline_tag="sentence-similarity",
        license=licence if licence and " " not in licence else None,  # the hub's words alone
        base_model=identity.removeprefix(HUB).partition("@")[0] if identity.startswith(HUB) else None,
        model_name=f"student {metrics['artifacts']['export']}",
        eval_results=[
            EvalResult(
                "text-classification",
                "pairs",
                f"own pairs, {split}",
                metric,
                estimate["value"],
                metric_name=f"{METRIC_TITLES[metric]} ({score})",
            )
            for score in STUDENT
            for metric in HEADLINE
            if (estimate := metrics["splits"][split][score][metric])["value"] is not None
        ],
    )
    path.write_text(str(card), encoding="utf-8")


def _licence(name: str) -> str | None:
    try:
        return licence_of(find_model(name, download=False))
    except FlipkdError:  # the teacher need not be there any more
        return None


def _code(text: str) -> str:
    """A text as code of Markdown, in one line, whatever is in it."""
    inside = json.dumps(text, ensure_ascii=False)[1:-1].replace("|", "\\|")
    ticks = "``" if "`" in inside else "`"
    return f"{ticks} {inside} {ticks}" if "`" in inside else f"{ticks}{inside}{ticks}"
