"""Automations that mark runs Crashed whose process died without a word: a power cut, a worker killed with its run.

Prefect itself leaves such a run Running for ever, and with it the slot of its deployment. Every run sends a
heartbeat (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`, every 30 s in prefect.yaml, the least that Prefect allows). Only
runs with our tag are watched: others on the server may speak less often.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.local import TAG

SILENCE_SECONDS = 90  # three heartbeats
START_SECONDS = 900  # from handing a run to a worker until its process speaks; a busy machine needs a minute
SPOKEN = "flipkd: a run that fell silent has crashed"
STARTED = "flipkd: a run that never started has crashed"
_ENDED = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
_PUT_OFF = {f"prefect.flow-run.{name}" for name in ("Scheduled", "Late", "AwaitingConcurrencySlot", "Paused")}


def crash_automations(silence: int, start: int = START_SECONDS) -> list[AutomationCore]:
    """The automations, as the server takes them.

    Args:
        silence: seconds without a heartbeat after which a run counts as dead; at least 10 (Prefect's own bound).
        start: seconds that a run may take from Pending to Running.
    """
    heartbeat, running = "prefect.flow-run.heartbeat", "prefect.flow-run.Running"
    return [
        _automation(SPOKEN, {heartbeat}, {heartbeat, *_ENDED, *_PUT_OFF}, silence, "no heartbeat"),
        _automation(
            STARTED, {"prefect.flow-run.Pending"}, {heartbeat, running, *_ENDED, *_PUT_OFF}, start, "not started"
        ),
    ]


def install(automation: AutomationCore, client: SyncPrefectClient) -> None:
    """Create the automation, or bring the one of its name to this state.

    An update makes the server forget the heartbeats it waits for, so nothing is sent if nothing would change. One
    that somebody switched off stays off.
    """
    found = next(iter(client.read_automations_by_name(automation.name)), None)
    if found is None:
        client.create_automation(automation)
        return
    automation = automation.model_copy(update={"enabled": found.enabled})
    if AutomationCore.model_validate(found.model_dump(include=set(AutomationCore.model_fields))) != automation:
        client.update_automation(found.id, automation)


def _automation(name: str, after: set[str], expect: set[str], within: int, reason: str) -> AutomationCore:
    action: ActionTypes = ChangeFlowRunState(
        state=StateType.CRASHED,
        name="Crashed",
        message=f"{reason} for {within} s: the process that ran this is gone",
        force=False,
    )
    return AutomationCore(
        name=name,
        description="Installed by `flipkd deploy`. Frees the slot that the run holds.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification.model_validate(
                {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
            ),
            for_each={"prefect.resource.id"},
            after=after,
            expect=expect,
            threshold=1,
            within=timedelta(seconds=within),
        ),
        actions=[action],
    )
