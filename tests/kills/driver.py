"""One run of the flow in a process of its own, which may have been told when to die.

The processes are forked from a server that has imported everything and done nothing (`multiprocessing`'s
forkserver): a run starts in a second instead of ten, and nothing of one run is left in the next.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import flows.flip
import pipeline.stages.distill.run
import pipeline.stages.export.run
import pipeline.stages.filter.run
import pipeline.stages.prepare.run
import pipeline.stages.score.run
import pipeline.stages.teach.run  # imported for the processes forked from here
from pipeline.config.config import Config
from tests.kills.moments import arm, count_changes


def drive(settings: Mapping[str, Any]) -> None:
    """Run the flow as `settings` say.

    Args:
        settings: `url` of the server; `config` as JSON; `until`, `refresh`; `log`, a file for everything that
            is said; `marks`, a folder in which a file `<stage>` appears when the stage begins; `temporary`, for
            temporary files; optionally `signal` with a `moment` or with a `change`, stage and number of a change
            of files; `pause`, a stage that sleeps for ever when it begins; `check`, whether export really asks a
            clean process; `command`, arguments of the command line to run instead.
    """
    os.setsid()  # so that what this run leaves behind can be found, and ended
    log = os.open(settings["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["TMPDIR"] = os.environ["FLIPKD_KILLS"] = str(settings["temporary"])
    config = Config.model_validate_json(settings["config"])
    stage = _follow_stages(Path(settings["marks"]), settings.get("pause"))
    if not settings.get("check", True):
        pipeline.stages.export.run.check_in_clean_process = lambda *_, **__: {"skipped": 0.0}
    store, signal = Path(str(config.store)), settings.get("signal", 0)
    if moment := settings.get("moment"):
        arm(moment, signal, store, lambda: stage[-1])
    changes = count_changes(store, lambda: stage[-1], settings.get("change"), signal)
    _run(settings, config)
    (Path(settings["marks"]) / "changes.json").write_text(json.dumps(changes), "utf-8")


def _run(settings: Mapping[str, Any], config: Config) -> None:
    import torch
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    torch.set_num_threads(1)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{os.getpid()} %(created).3f %(message)s"))
    logging.getLogger("flipkd").addHandler(handler)
    with temporary_settings({PREFECT_API_URL: settings["url"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        if command := settings.get("command"):
            from pipeline.cli.main import main

            sys.argv = ["flipkd", *command]
            main()
        flows.flip.flip(config, until=settings.get("until"), refresh=settings.get("refresh", []))


def _follow_stages(marks: Path, pause: str | None) -> list[str]:
    """The stages that have begun, in a list that grows; each also leaves a mark."""
    real, begun = flows.flip.execute, [""]

    def execute(step: Any, *args: Any, **settings: Any) -> Any:
        begun.append(step.stage)
        (marks / step.stage).touch()
        return real(step, *args, **settings)

    flows.flip.execute = execute
    if pause:
        _pause(pause, marks)
    return begun


def _pause(stage: str, marks: Path) -> None:
    """Make a stage sleep when it begins to work; the lock is held by then."""
    module = sys.modules[f"pipeline.stages.{stage}.run"]

    def sleep(*_: Any) -> Any:
        (marks / f"{stage}.asleep").touch()
        with suppress(KeyboardInterrupt):
            time.sleep(600)

    vars(module)["run"] = sleep
