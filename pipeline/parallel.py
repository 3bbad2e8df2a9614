"""Training on several processes: `torch.distributed.run` starts this module once for each of them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from data.errors import FlipkdError

log = logging.getLogger("flipkd.distill")
SUMMARY, ERROR = "summary.json", "error.txt"


def train_on_processes(job: dict[str, Any], processes: int) -> dict[str, Any]:
    """Run a job of `pipeline.distill` on several processes of this machine, one a device where there are GPUs.

    Raises:
        FlipkdError: what one of the processes said, or that they ended without a word.
    """
    work = Path(job["work"])
    for name in (SUMMARY, ERROR):
        (work / name).unlink(missing_ok=True)
    file = work / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["ACCELERATE_USE_CPU"] = "true"
    done = subprocess.run([*launcher, "-m", "pipeline.parallel", str(file)], check=False, env=environment)
    if (work / ERROR).exists():
        raise FlipkdError((work / ERROR).read_text("utf-8"))
    if done.returncode or not (work / SUMMARY).exists():
        raise FlipkdError(
            f"distill: {processes} processes ended with exit code {done.returncode}, without a result"
        )
    return json.loads((work / SUMMARY).read_text("utf-8"))


def main() -> None:
    """One of the processes; the first one writes the result and the log lines."""
    from pipeline.distill import train_job
    from pipeline.log_setup import set_up_logging

    set_up_logging()
    first = int(os.environ.get("RANK", "0")) == 0
    if not first:
        logging.getLogger("flipkd").setLevel(logging.WARNING)
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
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
