"""How `flipkd runs` shows the runs of a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.runner.runs import Run
from pipeline.terminal.words import readable_age

STYLES = {"completed": "green", "running": "cyan", "failed": "red", "crashed": "red", "damaged": "red"}


def runs_table(found: Sequence[Run]) -> Table:
    """The runs as a table for the terminal, one a row; a failed one's error stands in the last column."""
    table = Table()
    for name in ("started (UTC)", "state", "duration", "stages", "export"):
        table.add_column(name, no_wrap=True, justify="right" if name == "duration" else "left")
    table.add_column("", overflow="fold", ratio=1)
    for run in found:
        record = run.record
        started = record.started.replace("T", " ").removesuffix("+00:00") if record else run.id
        seconds = "" if record is None or record.seconds is None else readable_age(record.seconds)
        export = record.steps["export"].key if record and "export" in record.steps else ""
        told = run.problem or (record.error if record else None) or ""
        table.add_row(started, Text(run.state, STYLES[run.state]), seconds, stages_line(run), export, Text(told))
    return table


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
