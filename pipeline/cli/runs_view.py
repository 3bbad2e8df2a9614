"""How `flipkd runs` shows the runs of a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.runner.runs import Run
from pipeline.runner.why import changed_settings
from pipeline.terminal.visible import visible
from pipeline.terminal.words import readable_age

STYLES = {"completed": "green", "running": "cyan", "failed": "red", "crashed": "red", "damaged": "red",
          "cancelled": "yellow"}  # fmt: skip
SHOWN = 4  # changed settings that are spelled out


def runs_table(found: Sequence[Run], count: int | None = None) -> Table:
    """The runs as a table for the terminal, the newest first; a failed one's error stands in the last column.

    Args:
        found: oldest first; settings are compared with those of the run of the same name before.
        count: how many are shown; all if None.
    """
    table = Table()
    for name in ("started (UTC)", "state", "took", "name"):
        table.add_column(name, no_wrap=True, justify="right" if name == "took" else "left")
    table.add_column("what", overflow="fold", ratio=1)
    rows: list[tuple[str | Text, ...]] = []
    before: dict[str, dict[str, Any]] = {}
    for run in found:
        record = run.record
        started = record.started[:16].replace("T", " ") if record else run.id
        seconds = "" if record is None or record.seconds is None else readable_age(record.seconds)
        name = record.name or "" if record else ""
        told = [stages_line(run)]
        if record:
            changes = changed_settings(before[name], record.config) if name in before else []
            before[name] = record.config
            told += changes[:SHOWN]
            told += [f"{len(changes) - SHOWN} more settings changed"] if len(changes) > SHOWN else []
            if run.state == "completed" and "export" in record.steps:
                told.append(f"export {record.steps['export'].key}")
        told += [run.problem or (record.error if record else None) or ""]
        what = "; ".join(part for part in told if part)
        state = shown_state(run)
        rows.append((started, Text(state, STYLES[state]), seconds, name, Text(visible(what))))
    for row in reversed(rows[-count:] if count else rows):
        table.add_row(*row)
    return table


def shown_state(run: Run) -> str:
    """A run's state; one that somebody ended is `cancelled`."""
    error = (run.record.error or "") if run.record else ""
    ended = ("KeyboardInterrupt", "CancelledRun", "TerminationSignal", "SystemExit")
    return "cancelled" if run.state == "failed" and error.startswith(ended) else run.state


def stages_line(run: Run) -> str:
    """`4 cached, 2 computed`; of a run without an end, how many were planned."""
    if run.record is None:
        return ""
    counts = Counter(stage.outcome for stage in run.record.stages.values())
    planned = f"{len(run.record.steps)} planned"
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) or planned


def runs_json(found: Sequence[Run]) -> str:
    """The runs as a JSON list, each record with its state; oldest first."""
    rows: list[dict[str, Any]] = []
    for run in found:
        record = run.record.model_dump(mode="json") if run.record else {"id": run.id, "error": run.problem}
        rows.append(record | {"state": run.state})
    return json.dumps(rows, indent=2, ensure_ascii=False)
