"""`flipkd status`: what of a config's run is in the store. Nothing is computed but keys and digests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.plan import Step, plan
from pipeline.runner.why import why_missing
from pipeline.stages.registry import sentence
from pipeline.store.store import Store


@dataclass(frozen=True)
class StageStatus:
    """One stage of a config.

    Attributes:
        state: `cached`, `not there`, or `damaged`.
        summary: what it holds; of what is not there why (what changed), of what is damaged what is wrong.
        bytes: of all the artifact's files.
    """

    stage: str
    key: str
    state: str
    age_seconds: float | None = None
    bytes: int | None = None
    summary: str = ""


def status(config: Config, now: datetime | None = None) -> list[StageStatus]:
    """The state of every stage; every file of an artifact is verified, as a run would do.

    Raises:
        FlipkdError: an input file or a model is not on this machine, so that the keys cannot be known.
    """
    store, now = store_of(config), now or datetime.now(UTC)
    return [_stage_status(store, step, now, config.promote.called) for step in plan(config, download=False)]


def _stage_status(store: Store, step: Step, now: datetime, name: str) -> StageStatus:
    stage, key = step.stage, step.key
    problems = store.problems(stage, key)
    if problems is None:
        return StageStatus(stage, key, "not there", summary=why_missing(step, store, name))
    if problems:
        return StageStatus(stage, key, "damaged", summary="; ".join(problems))
    manifest = store.manifest(stage, key)
    age = (now - datetime.fromisoformat(manifest.started)).total_seconds() - manifest.duration_seconds
    size = sum(entry.bytes for entry in manifest.files.values())
    return StageStatus(stage, key, "cached", max(age, 0.0), size, sentence(manifest))
