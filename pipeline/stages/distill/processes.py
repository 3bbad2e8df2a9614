"""Training on several processes of one machine: `train_on_processes` starts this module once for each of them.

They meet by a file and talk over the loopback interface. `torch.distributed.run` would do the starting too, but
its meeting place listens on every interface of the machine, without a password, and unpickles what it is sent.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from data.errors import FlipkdError
from pipeline.stages.export.verify_student import end_with_parent  # which may import nothing of ours

log = logging.getLogger("flipkd.distill")
SUMMARY, ERROR, MEETING = "summary.json", "error.txt", "meeting"
LAST_WORD_SECONDS = 10
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
WATCH = "--end-with-parent"


def train_on_processes(job: dict[str, Any], processes: int) -> dict[str, Any]:
    """Run a training job on several processes of this machine, one a device where there are GPUs.

    Raises:
        FlipkdError: fewer GPUs than processes; what one of the processes said, or that they ended without a word.
    """
    if 0 < (devices := torch.cuda.device_count()) < processes:
        raise FlipkdError(
            f"distill.processes is {processes}, and here {'is 1 GPU' if devices == 1 else f'are {devices} GPUs'}: "
            f"each process takes one; set it to {devices} or less, or hide the GPUs (CUDA_VISIBLE_DEVICES=)"
        )
    work = Path(job["work"])
    for name in (SUMMARY, ERROR, MEETING):
        (work / name).unlink(missing_ok=True)
    file = work / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline.stages.distill.processes", str(file), WATCH]
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
    if (work / ERROR).exists():
        raise FlipkdError((work / ERROR).read_text("utf-8"))
    if code or not (work / SUMMARY).exists():
        raise FlipkdError(f"distill: {processes} processes ended with exit code {code}, without a result")
    return json.loads((work / SUMMARY).read_text("utf-8"))


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


def meet(work: Path) -> None:
    """Join the other processes; accelerate takes the group that is there."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    meeting = (work / MEETING).absolute().as_uri()
    torch.distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=processes)


def main() -> None:
    """One of the processes; the first one writes the result and the log lines."""
    from pipeline.stages.distill.run import train_job
    from pipeline.terminal.log_lines import set_up_logging

    set_up_logging()
    if WATCH in sys.argv:
        # Orphans would train on beside the run that takes over, and write into its folder.
        threading.Thread(target=end_with_parent, daemon=True).start()
    first = int(os.environ.get("RANK", "0")) == 0
    if not first:
        logging.getLogger("flipkd").setLevel(logging.WARNING)
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        meet(Path(job["work"]))
    try:
        summary = train_job(job, write=first)
    except FlipkdError as error:
        if first:
            (Path(job["work"]) / ERROR).write_text(str(error), encoding="utf-8")
        raise SystemExit(1) from None
    if first:
        (Path(job["work"]) / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
