"""A process of a training, killed and begun again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.stages.distill.job import train_job
from pipeline.stages.distill.processes import JOB
from tests.pipeline.stages.distill.jobs import adapter, job, training_log


def test_it_ends_when_its_standard_input_does() -> None:
    """Whoever started it holds the other end of the pipe, and is gone."""
    command = "from pipeline.stages.distill.worker import end_with_parent; end_with_parent()"
    process = subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE)
    process.communicate(b"still there")
    assert process.returncode == 1


def test_killed_and_resumed_equals_undisturbed(
    undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path
):
    """kill -9 in the middle; dropout is on, so the random state has to come back too."""
    work = job(tmp_path, base, checkpoint_minutes=1e-6)
    (tmp_path / "job.json").write_bytes(JOB.dump_json(work))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.stages.distill.worker", str(tmp_path / "job.json")]
    )
    checkpoint = tmp_path / "work" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert checkpoint.exists()
    assert not (tmp_path / "out" / "adapter").exists()
    train_job(work)
    assert training_log(tmp_path).equals(training_log(undisturbed[0]))
    for name, tensor in adapter(undisturbed[0]).items():
        np.testing.assert_array_equal(adapter(tmp_path)[name], tensor)
