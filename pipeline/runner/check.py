"""What can be found wrong before any work starts: each stage checks what it needs from outside."""

from __future__ import annotations

from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.plan import Step, plan, side_step
from pipeline.stages.registry import ALL_STAGES, SIDE_STAGES, STAGES, stages_until


def checked_plan(config: Config, until: str | None = None, side_stages: tuple[str, ...] = ()) -> list[Step]:
    """Check all that the stages up to `until` need from outside, and plan them.

    Models are tried, which takes torch, for the stages alone whose artifacts are not there.

    Args:
        until: the last stage; all by default. side_stages: further stages beside the main line, in order.

    Returns:
        The steps, with their keys.

    Raises:
        FlipkdError: a file, column, model, layer or module that is not there; names the config's key.
    """
    for stage in (*stages_until(until), *(SIDE_STAGES[name] for name in side_stages)):
        stage.check_first(config)
    steps = plan(config, until)
    for name in side_stages:
        steps.append(side_step(name, config, steps))
    store = store_of(config)
    for step in steps:
        if not store.path(step.stage, step.key).exists():
            ALL_STAGES[step.stage].check(config, store)
    return steps


def checked_side_plan(config: Config, name: str) -> list[Step]:
    """`checked_plan` of a stage beside the main line, with all that it reads; its own step comes last."""
    stage = SIDE_STAGES[name]
    side_stages = (*(read for read in stage.reads if read in SIDE_STAGES), name)
    read = {source for one in side_stages for source in SIDE_STAGES[one].reads}
    return checked_plan(config, [one for one in STAGES if one in read][-1], side_stages)
