"""The steps of a run and the keys of their artifacts.

Keys follow from the config and the content of raw files and models alone, so the keys of a whole run are known
before anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.config import Config
from pipeline.contract.keys import artifact_key
from pipeline.contract.stage import Stage
from pipeline.stages.registry import ALL_STAGES, SIDE_STAGES, stages_until


@dataclass(frozen=True)
class Step:
    """One stage of one run.

    Attributes:
        stage: the stage's name.
        key: of its artifact.
        seed: of everything random in it; 0 if nothing is.
        config: its part of the config, as it entered the key.
        inputs: keys of the artifacts, and identities of the files and models, that it reads.
    """

    stage: str
    key: str
    seed: int
    config: dict[str, Any] = field(hash=False)
    inputs: dict[str, str] = field(hash=False)

    @property
    def artifacts(self) -> dict[str, str]:
        """Those of the inputs that are artifacts: stage name to key."""
        return {name: self.inputs[name] for name in ALL_STAGES[self.stage].reads}


def plan(config: Config, until: str | None = None, *, download: bool = True) -> list[Step]:
    """The steps of a run, in order, with their keys; nothing is computed but digests.

    Args:
        download: fetch a hub model that is not on this machine; without it its key cannot be known.

    Raises:
        FlipkdError: a raw file or model is not there, or `until` names no stage.
    """
    steps: list[Step] = []
    for stage in stages_until(until):
        steps.append(_step(stage, config, steps, download=download))
    return steps


def side_step(name: str, config: Config, steps: Sequence[Step]) -> Step:
    """A step beside the main line, from a plan that holds all that it reads."""
    return _step(SIDE_STAGES[name], config, steps, download=True)


def _step(stage: Stage, config: Config, before: Sequence[Step], *, download: bool) -> Step:
    keys = {step.stage: step.key for step in before}
    inputs = {name: keys[name] for name in stage.reads} | stage.raw_inputs(config, download)
    keyed, seed = stage.keyed(stage.settings(config)), stage.seed(config)
    return Step(stage.name, artifact_key(stage.name, stage.version, keyed, seed, inputs), seed, keyed, inputs)
