"""The automations that call a silent run crashed, and how they are installed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import EventTrigger

from flows.crashed import SPOKEN, STARTED, crash_automations, install


def test_silence_and_a_start_that_never_comes() -> None:
    found = {automation.name: automation.trigger for automation in crash_automations(90, 900)}
    assert found.keys() == {SPOKEN, STARTED}
    spoken, started = found[SPOKEN], found[STARTED]
    assert isinstance(spoken, EventTrigger)
    assert isinstance(started, EventTrigger)
    assert (spoken.within, started.within) == (timedelta(seconds=90), timedelta(seconds=900))
    assert spoken.after == {"prefect.flow-run.heartbeat"}
    assert "prefect.flow-run.Completed" in spoken.expect  # a run that ended owes no heartbeat
    assert "prefect.flow-run.Running" in started.expect


def test_installed_twice_they_are_there_once_and_one_switched_off_stays_off(prefect_server: None) -> None:
    with get_client(sync_client=True) as client:

        def there(name: str) -> list[Any]:
            return list(client.read_automations_by_name(name))

        for automation in [*crash_automations(90), *crash_automations(90)]:
            install(automation, client)
        (spoken,) = there(SPOKEN)
        client.pause_automation(spoken.id)
        install(crash_automations(300)[0], client)
        (changed,) = there(SPOKEN)
        assert changed.id == spoken.id
        assert changed.enabled is False
        assert changed.trigger.within == timedelta(seconds=300)
