"""A comparison that is stopped takes its processes along, whatever the signal, and goes on later."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from data.errors import FlipkdError
from flows.compare import run_comparison
from pipeline.comparison.config import all_jobs, load_comparison
from pipeline.comparison.students import planned_students
from tests.comparisons import comparison_file

LONG = {"distill.epochs": 100.0, "distill.batch_pairs": 2, "distill.checkpoint_minutes": 1e-6}
# As a terminal starts it: tests that run in a shell's background inherit that SIGINT is ignored.
HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
RUN = [sys.executable, "-c", f"{HEARD}; from pipeline.cli.main import main; main()", "compare"]


@pytest.mark.parametrize("to_all", [False, True])  # a terminal's Ctrl-C, `timeout` and Slurm reach every process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_comparison(tmp_path: Path, number: signal.Signals, to_all: bool) -> None:
    variants = {"flip": {}, "sft": {"distill.objective": "sft"}}
    file = comparison_file(tmp_path, variants=variants, seeds=[1], set=LONG)
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [*RUN, str(file), "-o", str(tmp_path / "out"), "--jobs", "2"],
            stderr=log, stdout=log, env=environment, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 180
    while len(list(tmp_path.glob("store/work/distill/*/checkpoint.safetensors"))) < 2:
        assert run.poll() is None, (tmp_path / "log").read_text("utf-8")
        assert time.monotonic() < deadline, (tmp_path / "log").read_text("utf-8")
        time.sleep(0.1)
    below = psutil.Process(run.pid).children(recursive=True)
    assert any("uvicorn" in one.cmdline() for one in below)
    if to_all:
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    assert run.wait(20) == (130 if number == signal.SIGINT else -number)
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive
    said = (tmp_path / "log").read_text("utf-8")
    assert said.count("Stopped.") == (0 if number == signal.SIGKILL else 1)
    assert "Traceback" not in said
    assert not list(tmp_path.glob("store/artifacts/measure/*"))
    assert len(list(tmp_path.glob("store/work/distill/*/checkpoint.safetensors"))) == 2  # to go on from


def test_a_student_whose_process_is_killed_is_named_and_the_others_are_made(
    tmp_path: Path, prefect_server: None
) -> None:
    variants = {"sft": {"distill.objective": "sft"}, "flip": LONG}
    config = load_comparison(comparison_file(tmp_path, variants=variants, seeds=[1]))

    def kill_the_second() -> None:
        """The one that is still training when the other has been measured."""
        while not list(tmp_path.glob("store/artifacts/measure/*")):
            time.sleep(0.1)
        time.sleep(2)  # the other's process ends
        for process in multiprocessing.active_children():
            process.kill()

    threading.Thread(target=kill_the_second, daemon=True).start()
    with pytest.raises(
        FlipkdError, match=r"(?s)1 of 2 students failed.*tiny, flip, seed 1: its process was killed"
    ):
        run_comparison(config, planned_students(all_jobs(config, None)), tmp_path / "out", jobs=2)
    assert set(pl.read_parquet(tmp_path / "out/comparison.parquet")["variant"]) == {"teacher", "sft"}
    assert list(tmp_path.glob("store/work/distill/*/checkpoint.safetensors"))  # to go on from
