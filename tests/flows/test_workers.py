"""A comparison that is stopped takes its processes along, whatever the signal, and goes on later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.flows.test_compare import comparison_file

LONG = {"distill.epochs": 100.0, "distill.batch_pairs": 2, "distill.checkpoint_minutes": 1e-6}
RUN = [sys.executable, "-c", "from pipeline.cli import main; main()", "compare"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_comparison(tmp_path: Path, number: signal.Signals) -> None:
    variants = {"flip": {}, "sft": {"distill.objective": "sft"}}
    file = comparison_file(tmp_path, variants=variants, seeds=[1], set=LONG)
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [*RUN, str(file), "-o", str(tmp_path / "out"), "--jobs", "2"], stderr=log, stdout=log, env=environment
        )
    deadline = time.monotonic() + 180
    while len(list(tmp_path.glob("store/work/distill/*/checkpoint.safetensors"))) < 2:
        assert run.poll() is None, (tmp_path / "log").read_text("utf-8")
        assert time.monotonic() < deadline, (tmp_path / "log").read_text("utf-8")
        time.sleep(0.1)
    below = psutil.Process(run.pid).children(recursive=True)
    servers = [one for one in below if "uvicorn" in one.cmdline()]
    assert len(servers) == 1  # the processes of the pool share it
    run.send_signal(number)
    assert run.wait(20) == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGKILL:  # the embedded server is Prefect's, and does not notice
        servers[0].kill()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive
    said = (tmp_path / "log").read_text("utf-8")
    assert said.count("Stopped.") == (0 if number == signal.SIGKILL else 1)
    assert "Traceback" not in said
    assert not list(tmp_path.glob("store/artifacts/measure/*"))
    assert len(list(tmp_path.glob("store/work/distill/*/checkpoint.safetensors"))) == 2  # to go on from
