"""Runs the stages on a disk that is too small, then on one that is read-only. A script for `test_disk`.

It mounts, so it runs in a mount namespace of its own: `unshare -rm python -m tests.small_disk FOLDER`. Each line
that it prints is JSON: what was tried, and the class and text of what was raised (null for nothing).
"""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.config.config import Config
from pipeline.runner.execute import execute
from pipeline.runner.plan import Step, plan
from pipeline.runner.runs import recording
from pipeline.store.store import Store
from tests.tiny import tiny_config

PAGE = 4096
ROOM = 64 * 1024 * 1024
EXTRA_PAGES = (1, 3, 8, 21, 55, 144)  # never a disk of size 0, which means without limit
EXPORT_PAGES = (1, 21)  # it takes seconds each time


def mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def tell(what: str, detail: str, action: Callable[[], object]) -> bool:
    """Do something and print what it raised; True if it raised nothing."""
    raised, text = None, ""
    try:
        action()
    except Exception as error:
        raised, text = type(error).__name__, str(error)
    told = {"what": what, "detail": detail, "raised": raised, "text": text}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    return raised is None


def run_short_of_room(disk: Path, store: Store, config: Config, step: Step) -> None:
    """A stage with a little more room each time, until it succeeds."""
    gc.collect()  # a model of the stage before may still hold a file that was removed: room to come
    for pages in EXPORT_PAGES if step.stage == "export" else EXTRA_PAGES:
        size = -(-shutil.disk_usage(disk).used // PAGE) * PAGE + pages * PAGE
        mount("-o", f"remount,size={size}", str(disk))
        fine = tell(step.stage, f"{pages} pages", lambda: execute(step, config, store))
        mount("-o", f"remount,size={ROOM}", str(disk))
        seen = [path.name for path in store.path(step.stage, step.key).parent.glob("[!.]*")]
        right = seen == ([step.key] if fine else [])
        tell("seen", step.stage, lambda right=right, seen=seen: check(right, str(seen)))
        if fine:
            return
    if step.stage != "export":
        execute(step, config, store)


def check(true: bool, text: str) -> None:
    if not true:
        raise ValueError(text)


def main() -> None:
    import torch

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    disk = folder / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(disk))
    config = tiny_config(folder / "tiny", distill={"checkpoint_minutes": 1e-9})
    store = Store(disk / "store")
    steps = plan(config)
    for step in steps:
        run_short_of_room(disk, store, config, step)
    mount("-o", f"remount,size={shutil.disk_usage(disk).used}", str(disk))
    tell("record", "full", lambda: recording(config, store, steps).__enter__())
    mount("-o", f"remount,ro,size={ROOM}", str(disk))
    tell("run", "read-only", lambda: execute(steps[-1], config, store))
    tell("record", "read-only", lambda: recording(config, store, steps).__enter__())
    for command in ("verify", "gc", "runs", "lineage"):
        tell("command", command, lambda command=command: on_read_only(command, store, steps))


def on_read_only(command: str, store: Store, steps: list[Step]) -> None:
    """The commands that only look need not write."""
    from typer.testing import CliRunner

    from pipeline.cli.main import app

    key = [f"score/{steps[2].key}"] if command == "lineage" else []
    done = CliRunner().invoke(app, [command, *key, "--store", str(store.root)])
    check(done.exit_code == 0, done.output)


if __name__ == "__main__":
    main()
