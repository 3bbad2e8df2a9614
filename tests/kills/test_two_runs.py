"""Two runs of one config at once, and what a run that was killed leaves running: nothing."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

from pipeline.config.config import Config
from pipeline.stages.registry import STAGES
from tests.kills.harness import Harness, assert_same_outcome, leftovers, other_store, without
from tests.kills.moments import Moment

SECONDS_TO_TAKE_OVER = 2.0


def test_each_stage_is_computed_once(reference: Config, harness: Any, tmp_path: Path) -> None:
    config = other_store(reference, tmp_path / "store")
    runs: Harness
    with harness(config) as runs:
        both = [runs.start(until="distill") for _ in range(2)]
        assert [run.end() for run in both] == [0, 0]
        said = "".join(run.said() for run in both)
        assert runs.torn == []
    for stage in list(STAGES)[:5]:
        assert len(re.findall(rf"^\d+ [\d.]+ {stage}: {STAGES[stage].title}$", said, re.MULTILINE)) == 1, said
    assert_same_outcome(config, reference, until="distill")
    assert leftovers(config) == []


def test_a_waiting_run_takes_over_when_the_holder_dies(reference: Config, harness: Any, tmp_path: Path) -> None:
    config = without(reference, "filter", tmp_path / "store")
    runs: Harness
    with harness(config) as runs:
        holder = runs.start(until="filter", pause="filter")
        assert holder.wait_for("filter.asleep")
        waiter = runs.start(until="filter")
        deadline = time.monotonic() + 30
        while "waiting for another process" not in waiter.said() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "waiting for another process" in waiter.said()
        killed = time.time()
        os.kill(holder.process.pid, SIGKILL)
        assert waiter.end(30) == 0
        begun = re.search(r"^\d+ ([\d.]+) filter: keep", waiter.said(), re.MULTILINE)
        assert begun
        assert float(begun[1]) - killed < SECONDS_TO_TAKE_OVER
    assert_same_outcome(config, reference, until="filter")


def test_the_clean_process_of_a_killed_export_ends(reference: Config, harness: Any, tmp_path: Path) -> None:
    runs: Harness
    with harness(without(reference, "export", tmp_path / "store")) as runs:
        assert runs.kill_at(Moment("export", "clean process begun", "subprocess:Popen.__init__", "after"), SIGKILL)
        assert runs.orphans() == []


@pytest.mark.parametrize("signal", [SIGKILL, SIGTERM])
def test_processes_that_train_end_with_the_run(
    reference: Config, harness: Any, tmp_path: Path, signal: int
) -> None:
    """An orphan would train on, and write into the folder of the run that takes over."""
    distill = reference.distill.model_copy(update={"processes": 2, "epochs": 100.0})
    config = without(reference.model_copy(update={"distill": distill}), "distill", tmp_path / "store")
    runs: Harness
    with harness(config) as runs:
        run = runs.start(until="distill")
        deadline = time.monotonic() + 120
        while not list((tmp_path / "store").glob("work/distill/*/checkpoint.safetensors")):
            assert time.monotonic() < deadline, run.said()
            assert run.process.is_alive(), run.said()
            time.sleep(0.1)
        assert len(runs.orphans()) >= 2  # the two that train; not orphaned yet
        os.kill(run.process.pid, signal)
        killed = time.monotonic()
        while runs.orphans() and time.monotonic() < killed + 30:
            time.sleep(0.1)
        assert time.monotonic() - killed < 10
        assert runs.orphans() == []


def test_the_command_line_ends_by_sigterm_and_says_what_stays(
    reference: Config, harness: Any, tmp_path: Path
) -> None:
    config = without(reference, "distill", tmp_path / "store")
    file = tmp_path / "config.yaml"
    file.write_text(config.model_dump_json(), "utf-8")  # JSON is YAML
    runs: Harness
    with harness(config) as runs:
        run = runs.start(command=["run", str(file), "--until", "distill"], pause="distill")
        assert run.wait_for("distill.asleep")
        os.kill(run.process.pid, SIGTERM)
        assert run.end(30) == -SIGTERM
        assert "Stopped. The stages that are complete stay" in run.said()
        assert "Traceback" not in run.said()
        assert not list((tmp_path / "store").glob("artifacts/distill/.*"))
        assert runs.finish(until="distill")
    assert_same_outcome(config, reference, until="distill")
