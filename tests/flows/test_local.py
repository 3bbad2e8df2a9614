"""How `flipkd run` meets a Prefect server: watched where there is one of one's own, quiet where there is none."""

from __future__ import annotations

import pytest

from flows.local import TAG, quiet_prefect


def test_with_a_server_the_run_is_watched(prefect_server: None) -> None:
    """The tag without the heartbeats would have a living run marked Crashed."""
    from prefect import flow
    from prefect.runtime import flow_run
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    @flow
    def seen() -> tuple[list[str], int | None]:
        return flow_run.tags, PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 180}), quiet_prefect():
        assert seen() == ([TAG], 30)
    assert TAG not in seen()[0]


def test_without_one_there_are_no_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "CRITICAL")  # so that nobody's loggers are changed
    with temporary_settings({PREFECT_API_URL: None}), quiet_prefect():
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None
