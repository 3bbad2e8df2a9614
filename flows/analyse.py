"""One student looked at closer, beside the main line: what it was made from is taken from the store or made."""

from __future__ import annotations

from prefect import flow

from flows.flip import Reference, make, show_progress
from flows.summary import HOOKS
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.plan import Step
from pipeline.runner.runs import recording


@flow(name="analyse", persist_result=False, validate_parameters=False, **HOOKS)
def analyse(config: Config, steps: list[Step]) -> Reference:
    """Run a stage beside the main line, and before it what it reads: the student is trained if it is not there.

    Args:
        config: all settings of all stages.
        steps: from `checked_side_plan`; the last one is the stage that was asked for.

    Returns:
        A reference `{"stage", "key"}` to the last step's artifact.

    Raises:
        FlipkdError: a stage found its input wrong.
    """
    show_progress()
    store = store_of(config)
    reference: Reference = {}
    with recording(config, store, steps):
        for step in steps:
            reference = make(step, config, store)
    return reference
