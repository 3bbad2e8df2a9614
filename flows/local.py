"""Settings that make Prefect quiet and keep it off the network. Imported before Prefect; the user's own win."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("flipkd.run")
TAG = "flipkd"  # of our deployments, and of `flipkd run`
HEARTBEAT_SECONDS = 30  # the least that Prefect allows
DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # A fresh machine needs half a minute for the embedded server's first start; Prefect gives it 20 seconds.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The embedded server tells of every request that its own end cuts short.
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # Under a worker our log lines go to the run's page; outside of a run there is none for them to go to.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flipkd",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)


@contextmanager
def quiet_prefect() -> Iterator[None]:
    """Run flows from the command line: without a configured server, Prefect's own log lines stay away.

    Prefect logs a failing stage with its traceback; the command line says the same in one message. Only what is
    critical still shows. With a server, the run is watched like those of the deployments (`flows/crashed.py`).
    """
    from prefect import tags
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if PREFECT_API_URL.value():
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_SECONDS}), tags(TAG):
            yield
        return
    from flows.embedded import BoundServer

    BoundServer()
    log.info("starting the flow (the first time on a machine this takes up to half a minute)")
    # Nobody watches the embedded server's heartbeats, and each run waits about a second for the last one.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        if "PREFECT_LOGGING_LEVEL" not in os.environ:
            for name in ("prefect", "EventsWorker", "APILogWorker"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
