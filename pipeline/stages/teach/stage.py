"""The stage `teach`: the teacher, tuned on the labelled pairs of train or taken as it is; or several of them."""

from __future__ import annotations

from typing import Any

from pipeline.contract.identity import model_identity
from pipeline.contract.stage import Stage, Summary
from pipeline.stages.prepare.config import has_catalogue, has_labelled_texts
from pipeline.stages.teach.config import TeachConfig
from pipeline.store.store import Store


def _raw_inputs(config: Any, download: bool) -> dict[str, str]:
    section: TeachConfig = config.teach
    found = {"model": model_identity("teach.model", section.model, download)}
    for n, other in enumerate(section.others):
        found[f"other {n}"] = model_identity(f"teach.others.{n}.model", other.model, download)
    if section.learns_from == "all" and has_labelled_texts(config.prepare):
        # `pairs` has the key from before this setting came, so what an older version learnt is found.
        found["learns from"] = "all"
    if section.prompts == "sides" and has_catalogue(config.prepare):
        found["prompts"] = "of both sides"
    return found


def _check(config: Any, store: Store) -> None:
    from models.teacher.check import check_encoder

    section: TeachConfig = config.teach
    check_encoder("teach", "model", section.model, section.trust_remote_code, section.max_length)
    for n, other in enumerate(section.others):
        check_encoder(f"teach.others.{n}", "model", other.model, other.trust_remote_code, other.max_length)


def _sentence(summary: Summary) -> str:
    before, after = (summary.get(name) for name in ("dev_untouched", "dev_tuned"))
    measured = (("untouched", before), ("tuned", after))
    aurocs = [f"{name} {metrics['auroc']:.3f}" for name, metrics in measured if metrics]
    kept = f"; the {summary['kept']} teacher is kept" if after else ""
    if combined := summary.get("dev_combined"):
        kept += f"; {1 + len(summary['others'])} teachers combined {combined['auroc']:.3f}"
    if (judged := summary.get("out_of_fold")) and judged["auroc"] is not None:
        kept += f"; train out of fold {judged['auroc']:.3f}"
    return f"dev AUROC {', '.join(aurocs)}{kept}" if aurocs else "taken as it is"


STAGE = Stage(
    package=__package__ or "",
    version=1,
    reads=("prepare",),
    title="tune the teacher",
    section=TeachConfig,
    sentence=_sentence,
    results=(("teacher", "teacher"),),
    raw_inputs=_raw_inputs,
    check=_check,
)
