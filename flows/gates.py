"""What a run does beside its stages: it watches the data, and it compares and promotes the student."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefect.artifacts import create_markdown_artifact

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.drift.check import check_drift
from pipeline.drift.view import drift_markdown
from pipeline.promotion.gate import promote_run
from pipeline.promotion.outcome import markdown, sentence
from pipeline.runner.plan import Step
from pipeline.store.store import Store


def watch_drift(config: Config, store: Store, steps: Sequence[Step]) -> None:
    """Compare tonight's data with those behind the student in use. Call it when `filter` is done.

    Raises:
        FlipkdError: a measure is above its `stop`; nothing was trained on these data.
    """
    report = check_drift(config, store, steps)
    if report is not None:
        create_markdown_artifact(
            drift_markdown(report), key="flipkd-drift", description="Tonight's data against the run in use"
        )


# What is looked at when a stage is done, before the next one runs: after the filter, whose file people look into.
AFTER: dict[str, Callable[[Config, Store, Sequence[Step]], None]] = {"filter": watch_drift}


def promotion(config: Config, store: Store, steps: Sequence[Step]) -> None:
    """Compare the exported student with the one in use, and promote it under `promote.mode: auto`.

    Raises:
        FlipkdError: it was refused, and `promote.otherwise` is `fail`; the export is in the store all the same.
    """
    outcome = promote_run(config, store, steps)
    create_markdown_artifact(
        markdown(outcome), key="flipkd-promotion", description="The new student against the one in use"
    )
    if outcome.refused and config.promote.mode == "auto" and config.promote.otherwise == "fail":
        raise FlipkdError(f"{sentence(outcome)}. The export is in the store; `promote.otherwise` is fail")
