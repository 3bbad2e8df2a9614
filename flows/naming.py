"""A run's name on Prefect's page: the config's name, and what changed since its last run."""

from __future__ import annotations

import logging

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError

from pipeline.config.config import Config
from pipeline.runner.runs import last_record, without_secrets
from pipeline.runner.why import changed_settings
from pipeline.store.store import Store

log = logging.getLogger("flipkd.run")
SHOWN = 2


def name_run(config: Config, store: Store) -> None:
    """Rename the present flow run, before it is recorded; a server that refuses costs the name alone."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(context.flow_run.id, name=run_name(config, store))
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        log.debug("the run keeps the name that Prefect gave it: %s", error)


def run_name(config: Config, store: Store) -> str:
    """`faq: filter.tau_pos 0.6 -> 0.7`; `faq` alone where nothing changed, or nothing was run before."""
    name = config.promote.called
    before = last_record(store, config.promote.name)
    if before is None:
        return name
    now = without_secrets(config.model_dump(mode="json"))
    changes = changed_settings(before.config | {"store": now["store"]}, now)
    more = [f"{len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
    return f"{name}: {', '.join([*changes[:SHOWN], *more])}" if changes else name
