"""Runs that die anywhere: nothing half-written is ever seen, and the next run comes to the same end.

`python -m tests.kills.campaign --kills 200` does the same for longer.
"""

from __future__ import annotations

from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

from pipeline.config.config import Config
from pipeline.contract.stage_names import StageName
from tests.kills.harness import (
    ALL,
    Harness,
    assert_same_outcome,
    draw,
    leftovers,
    other_store,
    stage_seconds,
    without,
)
from tests.kills.moments import MOMENTS, Moment, halve

# One moment while the stage is at work, one after the artifact stands: every stage, every kind, both signals.
CHOSEN: dict[StageName, tuple[str, str]] = {
    "prepare": ("Parquet file without its footer", "after the rename"),
    "teach": ("between flush and rename", "before Prefect's record"),
    "score": ("Parquet file without its footer", "inside Prefect's record"),
    "filter": ("inside the manifest", "after the rename"),
    "distill": ("data files there, no manifest", "inside Prefect's record"),
    "export": ("student there, no decision", "before the scratch folder is swept"),
}

# Moments after which a stage has something to go on from, and how it says so.
RESUMED: dict[StageName, tuple[list[str], str]] = {
    "teach": (
        ["optimiser step 4", "checkpoint: weights alone", "checkpoint: inside its state"],
        "going on from step",
    ),
    "score": (["inside a shard", "after a shard's rename"], "shards were there from a run that was cut off"),
    "distill": (
        ["inside a checkpoint", "optimiser step 4", "after a checkpoint's rename"],
        "resuming after step",
    ),
}


def moment(stage: StageName, name: str) -> Moment:
    return next(moment for moment in MOMENTS[stage] if moment.name == name)


def die(runs: Harness, stage: StageName, name: str, signal: int) -> str:
    """What a run said that was killed at a moment."""
    run = runs.kill_at(moment(stage, name), signal)
    assert run, f"{stage}: the moment did not come: {name}"
    return run.said()


def test_killed_again_and_again_the_outcome_is_that_of_an_undisturbed_run(
    reference: Config, harness: Any, tmp_path: Path
) -> None:
    """Each stage dies twice at chosen moments and once at any time; one run heals all of it."""
    config = other_store(reference, tmp_path / "store")
    random, seconds = draw(20), stage_seconds(reference)
    runs: Harness
    with harness(config) as runs:
        for number, stage in enumerate(ALL):
            early, late = CHOSEN[stage]
            signals = (SIGKILL, SIGTERM) if number % 2 else (SIGTERM, SIGKILL)
            runs.kill_after(stage, random.uniform(0, min(seconds[stage], 2.0)), SIGKILL)
            die(runs, stage, early, signals[0])
            die(runs, stage, late, signals[1])
        die(runs, "filter", "between flush and rename", SIGKILL)  # an artifact about to be replaced
        runs.finish(check=False)
        assert runs.torn == []
    assert_same_outcome(config, reference)
    assert leftovers(config) == []
    assert list(runs.temporary.iterdir()) == []


@pytest.mark.parametrize("stage", list(RESUMED))
def test_a_stage_goes_on_where_it_was(reference: Config, harness: Any, tmp_path: Path, stage: StageName) -> None:
    """Not only is the outcome the same, bit for bit and with dropout: the work is not done twice."""
    kills, resumed = RESUMED[stage]
    config = without(reference, stage, tmp_path / "store")
    runs: Harness
    with harness(config) as runs:
        for number, name in enumerate(kills):
            said = die(runs, stage, name, (SIGKILL, SIGTERM)[number == 1])
            if stage != "score":  # which says it when all shards are there
                assert (resumed in said) == (number > 0), said
        assert resumed in runs.finish(until=stage).said()
        assert runs.torn == []
    assert_same_outcome(config, reference, until=stage)


def test_a_damaged_checkpoint_costs_time_and_nothing_else(reference: Config, harness: Any, tmp_path: Path) -> None:
    """A power cut may shorten what was never flushed."""
    config = without(reference, "teach", tmp_path / "store")
    runs: Harness
    with harness(config) as runs:
        die(runs, "teach", "optimiser step 4", SIGKILL)
        (newest,) = Path(str(config.store)).glob("work/teach/*/checkpoints/checkpoint-3")
        halve(newest / "optimizer.pt")
        assert "the checkpoint of step 3 is damaged" in runs.finish(until="teach").said()
        die(runs, "distill", "optimiser step 4", SIGKILL)
        (checkpoint,) = Path(str(config.store)).glob("work/distill/*/checkpoint.safetensors")
        halve(checkpoint)
        assert "cannot be read" in runs.finish(until="distill").said()
    assert_same_outcome(config, reference, until="distill")
