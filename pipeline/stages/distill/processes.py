"""Training on several processes of one machine: `train_on_processes` starts `worker` once for each of them.

They meet by a file and talk over the loopback interface. `torch.distributed.run` would do the starting too, but
its meeting place listens on every interface of the machine, without a password, and unpickles what it is sent.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from pydantic import TypeAdapter

from data.errors import FlipkdError
from pipeline.stages.distill.job import Job

log = logging.getLogger("flipkd.distill")
SUMMARY, ERROR, MEETING = "summary.json", "error.txt", "meeting"
LAST_WORD_SECONDS = 10
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
WATCH = "--end-with-parent"
JOB = TypeAdapter(Job)  # as JSON, for the other processes


def train_on_processes(job: Job) -> dict[str, Any]:
    """Run a training job on `distill.processes` processes of this machine, one a device where there are GPUs.

    Raises:
        FlipkdError: fewer GPUs than processes; what one of the processes said, or that they ended without a word.
    """
    processes = job.config.processes
    if 0 < (devices := torch.cuda.device_count()) < processes:
        raise FlipkdError(
            f"distill.processes is {processes}, and here {'is 1 GPU' if devices == 1 else f'are {devices} GPUs'}: "
            f"each process takes one; set it to {devices} or less, or hide the GPUs (CUDA_VISIBLE_DEVICES=)"
        )
    for name in (SUMMARY, ERROR, MEETING):
        (job.work / name).unlink(missing_ok=True)
    file = job.work / "job.json"
    file.write_bytes(JOB.dump_json(job))
    command = [sys.executable, "-P", "-m", "pipeline.stages.distill.worker", str(file), WATCH]
    # Each holds the other end of a pipe: when this process dies, however that may be, they read its end.
    started = [
        subprocess.Popen(command, env=environment_of(rank, processes), stdin=subprocess.PIPE)
        for rank in range(processes)
    ]
    try:
        code = _wait(started)
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.communicate()
    if (job.work / ERROR).exists():
        raise FlipkdError((job.work / ERROR).read_text("utf-8"))
    if code or not (job.work / SUMMARY).exists():
        raise FlipkdError(f"distill: {processes} processes ended with exit code {code}, without a result")
    return json.loads((job.work / SUMMARY).read_text("utf-8"))


def environment_of(rank: int, processes: int) -> dict[str, str]:
    """What accelerate, gloo and NCCL read to find their place among the processes."""
    environment = {"OMP_NUM_THREADS": "1"} | dict(os.environ)
    environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    environment |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    environment |= {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK}
    return environment if torch.cuda.is_available() else environment | {"ACCELERATE_USE_CPU": "true"}


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all processes, or for the first that fails: the others would wait for it for ever.

    Returns:
        0, or that one's exit code.
    """
    while True:
        codes = [process.poll() for process in started]
        failed = next((code for code in codes if code), 0)
        if None not in codes:
            return failed
        if failed:
            with suppress(subprocess.TimeoutExpired):  # the first one may be about to say why
                started[0].wait(LAST_WORD_SECONDS)
            return failed
        time.sleep(0.1)
