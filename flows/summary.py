"""A short account of every run, as an artifact on its page: what ran, what was cached, what went wrong."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import Flow, State
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from pipeline.terminal.markdown import markdown_table

log = logging.getLogger("flipkd.run")
KEY = "flipkd-run"


@dataclass(frozen=True)
class StageNote:
    """What became of one stage in a run; `state` is the name of Prefect's state."""

    stage: str
    key: str
    state: str
    seconds: float


# By flow run: a hook is given the run's state, not what happened in it. Empty where the process died.
_notes: dict[UUID, list[StageNote]] = {}


def note(stage: str, key: str, state: str, seconds: float) -> None:
    """Remember what became of a stage in the present flow run."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        _notes.setdefault(context.flow_run.id, []).append(StageNote(stage, key, state, seconds))


def summarise(flow: Flow[..., object], flow_run: FlowRun, state: State[object]) -> None:
    """Hook for a run that ended, in whatever way. Without a server nobody would see it."""
    notes = _notes.pop(flow_run.id, [])
    if not PREFECT_API_URL.value():
        return
    with get_client(sync_client=True) as client:
        client.create_artifact(
            ArtifactCreate(
                key=KEY,
                type="markdown",
                description="What became of the run",
                data=summary_markdown(flow.name, state.name or state.type.value, state.message, notes),
                flow_run_id=flow_run.id,
            )
        )


# What every flow takes: `@flow(..., **HOOKS)`.
HOOKS: dict[str, Any] = {
    name: [summarise] for name in ("on_completion", "on_failure", "on_crashed", "on_cancellation")
}


def summary_markdown(flow: str, state: str, message: str | None, notes: list[StageNote]) -> str:
    """The account as Markdown.

    Args:
        message: of the state; it may hold text out of the data, so it is shown as it is, indented as code.
    """
    parts = [f"## {flow}: {state}"]
    if message:
        parts.append("\n".join(f"    {line}" for line in message.splitlines()))
    if notes:
        rows = [[one.stage, one.state, f"{one.seconds:.1f}", f"`{one.key}`"] for one in notes]
        table = markdown_table(["stage", "state", "seconds", "artifact"], rows, right=["seconds"])
        parts.append(table.rstrip("\n"))
    if state != "Completed":
        parts.append("What was complete is in the store; the next run of the same config goes on from there.")
    return "\n\n".join(parts) + "\n"
