"""`flipkd status`: what of a config's run is in the store. Nothing is computed but keys and digests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.stages.registry import sentence
from pipeline.store.store import Store


@dataclass(frozen=True)
class StageStatus:
    """One stage of a config.

    Attributes:
        state: `cached`, `not there`, or `damaged`; what is wrong then stands in `summary`.
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
    return [_stage_status(store, step.stage, step.key, now) for step in plan(config, download=False)]


def _stage_status(store: Store, stage: str, key: str, now: datetime) -> StageStatus:
    problems = store.problems(stage, key)
    if problems is None:
        return StageStatus(stage, key, "not there")
    if problems:
        return StageStatus(stage, key, "damaged", summary="; ".join(problems))
    manifest = store.manifest(stage, key)
    age = (now - datetime.fromisoformat(manifest.started)).total_seconds() - manifest.duration_seconds
    size = sum(entry.bytes for entry in manifest.files.values())
    return StageStatus(stage, key, "cached", max(age, 0.0), size, sentence(manifest))
