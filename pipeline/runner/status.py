"""`flipkd status`: what of a config's run is in the store. Nothing is computed but keys and digests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from pipeline.config.config import Config
from pipeline.config.load import store_of
from pipeline.runner.plan import plan
from pipeline.stages.registry import sentence
from pipeline.store.store import Store

STYLES = {"cached": "green", "damaged": "red", "not there": "yellow"}


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


def status_table(stages: list[StageStatus]) -> Table:
    """The states as a table for the terminal."""
    table = Table()
    for name in ("stage", "state", "key", "age", "size"):
        table.add_column(name, no_wrap=True, justify="right" if name in {"age", "size"} else "left")
    table.add_column("summary", overflow="fold", ratio=1)
    for one in stages:
        age = "" if one.age_seconds is None else readable_age(one.age_seconds)
        size = "" if one.bytes is None else readable_size(one.bytes)
        table.add_row(one.stage, Text(one.state, STYLES[one.state]), one.key, age, size, Text(one.summary))
    return table


def readable_age(seconds: float) -> str:
    """`40 s`, `12 min`, `5 h`, `3 days`."""
    for unit, length, limit in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def readable_size(size: int) -> str:
    """`312 B`, `1.2 MB`: powers of 1000."""
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
