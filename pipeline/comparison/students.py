"""The students of a comparison, planned: names, config, and the steps that make and measure each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.comparison.config import Job
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.check import checked_plan
from pipeline.runner.plan import Step, plan, side_step
from pipeline.store.store import Store


@dataclass(frozen=True)
class PlannedStudent:
    """One student of a comparison.

    Attributes:
        steps: the last two of them train and measure it; those before are shared with other students.
    """

    dataset: str
    variant: str
    seed: int
    config: Config
    steps: list[Step]

    @property
    def store(self) -> Store:
        return store_of(self.config)

    @property
    def folder(self) -> Path:
        """Where it is measured, whether or not it is there."""
        return self.store.path(self.steps[-1].stage, self.steps[-1].key)


def planned_students(jobs: Sequence[Job]) -> list[PlannedStudent]:
    """The students in order; of each dataset one is checked with all that it needs from outside.

    Raises:
        FlipkdError: a file, column, model or layer is not there; nothing has been computed then.
    """
    for config in {job[0]: job[3] for job in jobs}.values():
        checked_plan(config, "distill")
    students = []
    for dataset, variant, seed, config in jobs:
        steps = plan(config, "distill")
        steps.append(side_step("measure", config, steps))
        students.append(PlannedStudent(dataset, variant, seed, config, steps))
    return students
