"""The whole pipeline as one Prefect flow, a task a stage.

From Python:

    from flows.flip import flip
    from pipeline.config.load import load_config

    artifacts = flip(load_config("config.yaml"), until="filter")

What is deployed is `flows/nightly.py` and `flows/stages.py`, which take the config as a file. This flow can be
deployed too (`flows/flip.py:flip`): its parameters are the config itself as JSON, frozen in the deployment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import State, flow, task
from pydantic import Field

from flows.cache import ArtifactPolicy
from flows.gates import AFTER, promotion
from flows.gpu import gpu_slot
from flows.naming import name_run
from flows.publish import publish
from flows.summary import HOOKS, note
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.contract.stage_names import StageName
from pipeline.runner.check import checked_plan
from pipeline.runner.execute import execute, tidy
from pipeline.runner.latest import point_to_latest
from pipeline.runner.plan import Step
from pipeline.runner.runs import recording
from pipeline.store.store import Store

log = logging.getLogger("flipkd.run")
Reference = dict[str, str]


@task(
    task_run_name="{step.stage}",
    cache_policy=ArtifactPolicy(),
    persist_result=True,
    result_serializer="json",
    cache_result_in_memory=False,
)
def run_stage(step: Step, config: Config, store: Store, refresh: bool = False) -> Reference:
    """Make one artifact; `Cached` when it is there and intact."""
    with gpu_slot(step.stage):
        return execute(step, config, store, refresh=refresh)


@flow(name="flip", persist_result=False, **HOOKS)
def flip(
    config: Config,
    until: Annotated[StageName | None, Field(description="The last stage to run; all by default.")] = None,
    refresh: Annotated[
        list[StageName], Field(description="Stages to run even if their artifacts are there.")
    ] = [],  # noqa: B006
) -> dict[str, Reference]:
    """Teach a large language model to match texts the way a small BERT does.

    Args:
        config: all settings of all stages.
        until: the last stage to run; all by default.
        refresh: stages to run again even if their artifacts are there and intact.

    Returns:
        For each stage a reference `{"stage", "key"}` to its artifact.

    Raises:
        FlipkdError: the input, the config or a model is wrong.
    """
    return run_pipeline(config, until, refresh)


def run_pipeline(config: Config, until: StageName | None, refresh: Sequence[StageName]) -> dict[str, Reference]:
    """The body of the deployed flows: check and plan, then `run_steps`. Args, Returns, Raises: as in `flip`."""
    show_progress()
    return run_steps(config, checked_plan(config, until), refresh)


@flow(name="flip", persist_result=False, validate_parameters=False, **HOOKS)
def flip_planned(config: Config, steps: list[Step], refresh: Sequence[str] = ()) -> dict[str, Reference]:
    """`flip` for who has checked and planned already (`checked_plan`), so that no model's bytes are read twice."""
    show_progress()
    return run_steps(config, steps, refresh)


def run_steps(config: Config, steps: Sequence[Step], refresh: Sequence[str]) -> dict[str, Reference]:
    """Run the stages in order, look at the data on the way, publish what they found, promote the student.

    Args:
        refresh: stages to run again even if their artifacts are there and intact.

    Returns:
        For each stage a reference `{"stage", "key"}` to its artifact.

    Raises:
        FlipkdError: a stage found its input wrong, or a gate (`flows.gates`) stopped the run.
    """
    store = store_of(config)
    artifacts: dict[str, Reference] = {}
    name_run(config, store)
    with recording(config, store, steps):
        for step in steps:
            artifacts[step.stage] = make(step, config, store, step.stage in refresh)
            point_to_latest(store, config.promote.called, step)
            if gate := AFTER.get(step.stage):
                gate(config, store, steps)
        publish(steps, store)
        if "export" in artifacts:
            promotion(config, store, steps)
    return artifacts


def make(step: Step, config: Config, store: Store, refresh: bool = False) -> Reference:
    """Run one step as a task, or take its artifact where it is there and intact."""
    stage = run_stage.with_options(result_storage=store.root / "artifacts")
    if refresh:  # else left alone, so that PREFECT_TASKS_REFRESH_CACHE keeps its meaning
        stage = stage.with_options(refresh_cache=True)
    started = time.monotonic()
    state = stage(step, config, store, refresh, return_state=True)
    note(step.stage, step.key, state.name or state.type.value, time.monotonic() - started)
    if state.name == "Cached":
        log.info("%s: cached (%s)", step.stage, step.key)
        tidy(step, store)
    try:
        return state.result(raise_on_failure=True)
    finally:
        _drop_failure(state)


def _drop_failure(state: State[Reference]) -> None:
    """Prefect keeps a failed task's exception as a file beside the artifacts: nothing would ever remove it."""
    record = getattr(state.data, "metadata", None)
    if state.is_failed() and record is not None and record.storage_key:
        Path(record.storage_key).unlink(missing_ok=True)


def show_progress() -> None:
    """Let the stages' log lines through where nobody has set a level: under a worker, or in a script."""
    logger = log.parent or log
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
