"""What a server needs for flipkd: work pool, GPU limit, the automations of `flows/crashed.py`, deployments.

All of it may be done again: what is there is brought up to date, and a pool or a limit that somebody changed is
left as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from data.errors import FlipkdError
from flows.crashed import SILENCE_SECONDS, crash_automations, install
from flows.gpu import LIMIT
from flows.local import TAG
from pipeline.config.load import DEMO, load_config

POOL = "flipkd"
CHECKOUT = Path(__file__).resolve().parents[1]


def deploy(config: str, *, file: Path | None = None, silence: int = SILENCE_SECONDS) -> list[str]:
    """Install on the configured server what flipkd needs there.

    Args:
        config: path of the config that the deployments run, or `demo`.
        file: a `prefect.yaml`; the one of the checkout by default.
        silence: seconds without a heartbeat after which a run is marked Crashed.

    Returns:
        The deployments, as `flow/deployment`.

    Raises:
        FlipkdError: the config is wrong, no server answers, or it refused a deployment.
    """
    load_config(config)
    path = DEMO if config == DEMO else str(Path(config).expanduser().resolve())
    prefect_file = (file or CHECKOUT / "prefect.yaml").absolute()
    if not prefect_file.is_file():
        raise FlipkdError(f"no such file: {prefect_file}. Deployments need a checkout of flipkd: git clone it")
    if not PREFECT_API_URL.value():
        raise FlipkdError(
            "no Prefect server is configured. `flipkd serve` starts one; for one that runs: "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    with get_client(sync_client=True) as client:
        if (problem := client.api_healthcheck()) is not None:
            raise FlipkdError(f"the Prefect server {PREFECT_API_URL.value()} does not answer: {problem}")
        try:
            _create_pool(client)
            _create_limit(client)
            for automation in crash_automations(silence):
                install(automation, client)
        except httpx.HTTPError as error:
            raise FlipkdError(f"the Prefect server {PREFECT_API_URL.value()} refused: {error}") from None
        _apply(prefect_file, path)
        return _deployments(client)


def _create_pool(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template))


def _create_limit(client: SyncPrefectClient) -> None:
    try:
        client.read_global_concurrency_limit_by_name(LIMIT)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1))


def _apply(prefect_file: Path, config: str) -> None:
    """`prefect deploy --all`: Prefect has no public function that reads a prefect.yaml."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "prefect",
        "--no-prompt",
        "deploy",
        "--all",
        "--prefect-file",
        str(prefect_file),
    ]
    env = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "FLIPKD_CONFIG": config,
        "PWD": str(CHECKOUT),
    }
    done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = (done.stdout + done.stderr).strip().splitlines()
        raise FlipkdError("prefect deploy failed:\n" + "\n".join(line[:400] for line in told[-15:]))


def _deployments(client: SyncPrefectClient) -> list[str]:
    found = client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])))
    # One by one: a list of all flows comes in pages, and ours may stand on a later one.
    flows = {flow_id: client.read_flow(flow_id).name for flow_id in {one.flow_id for one in found}}
    return sorted(f"{flows[one.flow_id]}/{one.name}" for one in found)
