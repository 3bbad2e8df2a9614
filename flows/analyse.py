"""One student looked at closer, beside the main line: what it was made from is taken from the store or made."""

from __future__ import annotations

from typing import Literal

from prefect import flow

from flows.flip import Reference, make, show_progress
from flows.summary import HOOKS
from pipeline.config.config import Config
from pipeline.config.load import store_of
from pipeline.runner.check import check
from pipeline.runner.plan import plan, side_step
from pipeline.runner.runs import recording
from pipeline.stages.retrieve.task import check_utterances

Look = Literal["retrieve", "attribution"]


@flow(name="beside", persist_result=False, **HOOKS)
def beside(config: Config, look: Look) -> Reference:
    """Run a stage beside the main line, and before it what it reads: the student is trained if it is not there.

    Args:
        config: all settings of all stages.
        look: `retrieve` ranks FAQ entries, `attribution` measures every site alone.

    Returns:
        A reference `{"stage", "key"}` to the artifact.

    Raises:
        FlipkdError: the config, a file or a model is wrong; nothing is trained then.
    """
    show_progress()
    store = store_of(config)
    if look == "retrieve":
        check_utterances(config)
    check(config, "distill")
    steps = plan(config, "distill")
    for name in ("measure", "retrieve") if look == "retrieve" else ("attribution",):
        steps.append(side_step(name, config, steps))
    reference: Reference = {}
    with recording(config, store, steps):
        for step in steps:
            reference = make(step, config, store)
    return reference
