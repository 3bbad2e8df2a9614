"""The whole pipeline as one Prefect flow, a task a stage.

From Python:

    from flows.flip import flip
    from pipeline.settings import load_config

    artifacts = flip(load_config("config.yaml"), until="filter")

As a deployment its entrypoint is `flows/flip.py:flip`; its parameters are the config itself, as JSON.
"""

from __future__ import annotations

import logging
from typing import Annotated

from prefect import flow, task
from pydantic import Field

from flows.cache import ArtifactPolicy
from flows.publish import publish
from pipeline.check import check
from pipeline.config import Config
from pipeline.execute import execute
from pipeline.settings import store_of
from pipeline.stage_names import StageName
from pipeline.stages import Step, plan
from pipeline.store import Store

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
    return execute(step, config, store, refresh=refresh)


@flow(name="flip", persist_result=False)
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
    _show_progress()
    store = store_of(config)
    check(config, until)
    steps = plan(config, until)
    artifacts = {step.stage: _stage(step, config, store, step.stage in refresh) for step in steps}
    publish(steps, store)
    return artifacts


def _stage(step: Step, config: Config, store: Store, refresh: bool) -> Reference:
    stage = run_stage.with_options(result_storage=store.root / "artifacts")
    if refresh:  # else left alone, so that PREFECT_TASKS_REFRESH_CACHE keeps its meaning
        stage = stage.with_options(refresh_cache=True)
    state = stage(step, config, store, refresh, return_state=True)
    if state.name == "Cached":
        log.info("%s: cached (%s)", step.stage, step.key)
    return state.result(raise_on_failure=True)


def _show_progress() -> None:
    """Let the stages' log lines through where nobody has set a level: under a worker, or in a script."""
    logger = log.parent or log
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
