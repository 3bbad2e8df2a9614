"""One of the processes that train a student together, as `processes` starts it."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path

import torch

from data.errors import FlipkdError
from pipeline.stages.distill.job import train_job
from pipeline.stages.distill.processes import ERROR, JOB, MEETING, SUMMARY, WATCH
from pipeline.terminal.log_lines import set_up_logging


def meet(work: Path) -> None:
    """Join the other processes; accelerate takes the group that is there."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    meeting = (work / MEETING).absolute().as_uri()
    torch.distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=processes)


def end_with_parent() -> None:
    """End this process when standard input ends: whoever started it holds the pipe's other end, and is gone."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def main() -> None:
    """One of the processes; the first one writes the result and the log lines."""
    set_up_logging()
    if WATCH in sys.argv:
        # Orphans would train on beside the run that takes over, and write into its folder.
        threading.Thread(target=end_with_parent, daemon=True).start()
    first = int(os.environ.get("RANK", "0")) == 0
    if not first:
        logging.getLogger("flipkd").setLevel(logging.WARNING)
    job = JOB.validate_json(Path(sys.argv[1]).read_bytes())
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        meet(job.work)
    try:
        summary = train_job(job, write=first)
    except FlipkdError as error:
        if first:
            (job.work / ERROR).write_text(str(error), encoding="utf-8")
        raise SystemExit(1) from None
    if first:
        (job.work / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
