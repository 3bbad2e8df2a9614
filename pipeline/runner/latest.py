"""Where the latest artifacts of a config lie, whatever their keys: `<store>/latest/<name>/<stage>`.

A link for each stage, moved in one step as soon as a run has the artifact, computed or found. So a query over
`latest/faq/filter/filtered.parquet` reads the last night's rows, and those of no other bound.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.runner.plan import Step
from pipeline.runner.runs import Run, runs
from pipeline.store.links import linked_name, point
from pipeline.store.store import Store

log = logging.getLogger("flipkd.run")


def point_to_latest(store: Store, name: str, step: Step) -> None:
    """Remember a step's artifact as the latest one of its stage. A run does not fail for want of a link."""
    link = store.latest / name / step.stage
    if linked_name(link) == step.key:
        return
    if link.exists() and not link.is_symlink():
        log.warning("%s is no link (a copy of a store must keep its links: `cp -a`); remove it", link)
        return
    try:
        with store.lock("latest", name):
            point(link, Path("..", "..", "artifacts", step.stage, step.key))
    except OSError as error:
        log.warning("%s cannot be made: %s", link, error.strerror or error)


def latest_key(store: Store, name: str, stage: str) -> str | None:
    """The key of the latest artifact of a stage that is still in the store; None if there is none."""
    key = linked_name(store.latest / name / stage)
    return key if key is not None and store.path(stage, key).is_dir() else None


def nights(store: Store, name: str, stage: str) -> list[Run]:
    """The runs under a name that made or found an artifact of a stage, the newest first."""
    return [run for run in reversed(runs(store)) if _has(run, name, stage)]


def _has(run: Run, name: str, stage: str) -> bool:
    if run.record is None or run.record.config.get("promote", {}).get("name") != name:
        return False
    outcome = run.record.stages.get(stage)
    return outcome is not None and outcome.outcome != "not reached"


def sweep_links(store: Store) -> None:
    """Remove links whose artifact is gone."""
    for folder in store.latest.glob("[!.]*/"):
        with store.lock("latest", folder.name):
            for link in folder.iterdir():
                if link.is_symlink() and not link.exists():
                    link.unlink()
