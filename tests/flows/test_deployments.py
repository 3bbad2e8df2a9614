"""A real server and worker on loopback: deployments, a schedule, a stage with another bound, a power cut.

The tests of this file share one server. Its power was cut before the first of them, in the middle of a run, so
that nobody has to wait while the silence of that run grows long enough. The last test stops the server.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import psutil
import pytest
import yaml

from pipeline.config.load import load_config
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.stages.registry import STAGES
from pipeline.store.manifest import Manifest
from tests.checkout import ROOT as CHECKOUT
from tests.tiny import tiny_config

SILENCE = 45  # seconds; above the 30 s between two heartbeats
PATIENCE = 180  # seconds; on a quiet machine nothing here takes more than 20
DEPLOYMENTS = ["nightly", *STAGES]


def until(found: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for a value that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.25)
    pytest.fail(f"{what}: not within {seconds:g} s")


@dataclass
class Served:
    """`flipkd serve` as a process, and its API."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, port: int) -> Served:
        command = [
            sys.executable, "-c", "from pipeline.cli.main import main; main()",
            "serve", str(folder / "nightly.yaml"), "--port", str(port),
            "--home", str(folder / "prefect"), "--silence", str(SILENCE),
        ]  # fmt: skip
        env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "OMP_NUM_THREADS": "1",
        }
        with (folder / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env=env, stdout=log, stderr=log, start_new_session=True
            )
        served = cls(folder, port, process)
        begun = served.log.count("Ctrl-C")
        until(lambda: served.log.count("Ctrl-C") > begun or process.poll() is not None, PATIENCE, "the server")
        if process.poll() is not None:
            pytest.fail(served.log[-3000:])
        return served

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text(encoding="utf-8", errors="replace")

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}/api{path}"
        answer = httpx.request(method, url, json=body, timeout=PATIENCE)
        for _ in range(10):  # where SQLite is busy; Prefect's clients try again too
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
            answer = httpx.request(method, url, json=body, timeout=PATIENCE)
        return answer

    def get(self, path: str) -> Any:
        return self.api("GET", path).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        return self.api("POST", path, body).raise_for_status().json()

    def deployment(self, name: str) -> dict[str, Any]:
        return self.get(f"/deployments/name/{name}/{name}")

    def run(self, name: str, **parameters: Any) -> str:
        """Order a run; its id."""
        return self.post(
            f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters}
        )["id"]

    def state(self, run: str) -> str:
        return self.get(f"/flow_runs/{run}")["state_name"]

    def finished(self, run: str) -> str:
        ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        until(lambda: self.get(f"/flow_runs/{run}")["state_type"] in ended, PATIENCE, f"the end of a run ({run})")
        return self.state(run)

    def artifacts(self, run: str) -> dict[str, Any]:
        """Of a flow run: key to data."""
        found = self.post("/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return {one["key"]: one["data"] for one in found}

    def stages(self, run: str) -> dict[str, str]:
        """Of a flow run, from its own account: stage to `Cached` or `Completed`.

        The account is a hook's, which Prefect calls once the run's last state is set: it may come a moment later.
        """
        lines = str(until(lambda: self.artifacts(run).get("flipkd-run"), PATIENCE, "the account")).splitlines()
        cells = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| ")]
        return {row[1]: row[2] for row in cells if row[1] in STAGES}

    def family(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def kill(self) -> None:
        """All processes at once, without a word: the power is cut."""
        for one in self.family():
            one.kill()
        self.process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file, whose teacher is taken as it is, and whose store is empty."""
    folder = tmp_path_factory.mktemp("deployments")
    config = json.loads(tiny_config(folder, teach={"tune": False}).model_dump_json(exclude_unset=True))
    (folder / "nightly.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


@dataclass
class PowerCut:
    """Runs of one deployment: one that was cut off in the middle, and one that waited for its slot."""

    cut: str
    waiting: str


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple[Served, PowerCut]]:
    """The server after a power cut: server, worker and a run died at once, the first two were started again."""
    served = Served.start(folder, free_port())
    try:
        config = load_config(folder / "nightly.yaml")
        (step,) = plan(config, "prepare")
        with store_of(config).lock(step.stage, step.key):  # so the run cannot end by itself
            cut = served.run("prepare")
            until(lambda: heartbeats(served, cut), PATIENCE, "the first heartbeat")
            waiting = served.run("prepare", rerun=False)
            assert served.state(cut) == "Running"
            served.kill()
        served.process = Served.start(folder, served.port).process
        yield served, PowerCut(cut, waiting)
    finally:
        if served.process.poll() is None:
            served.kill()


@pytest.fixture
def server(served: tuple[Served, PowerCut]) -> Served:
    return served[0]


def heartbeats(served: Served, run: str) -> int:
    resource = {"id": [f"prefect.flow-run.{run}"]}
    wanted = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource}}
    return served.post("/events/filter", wanted)["total"]


def test_what_is_deployed(server: Served) -> None:
    found = server.post("/deployments/filter", {})
    assert sorted(one["name"] for one in found) == sorted(DEPLOYMENTS)
    for one in found:
        assert one["parameters"] == {"config": str(server.folder / "nightly.yaml")}
        assert one["enforce_parameter_schema"]
        assert one["global_concurrency_limit"]["limit"] == 1
        assert one["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert one["work_pool_name"] == "flipkd"
    assert server.get("/v2/concurrency_limits/gpu")["limit"] == 1
    assert len(server.post("/automations/filter", {})) == 2


@pytest.mark.parametrize(
    ("name", "parameters", "reason"),
    [
        ("filter", {"changes": {"tau_pos": 2}}, "2 is greater than the maximum of 1"),
        ("filter", {"changes": {"tau_pos": {"quantile": -0.1}}}, "-0.1 is less than the minimum of 0"),
        ("filter", {"changes": {"tau_poss": 0.4}}, "'tau_poss' was unexpected"),
        ("filter", {"changes": {"enabled": "maybe"}}, "'maybe' is not one of [True, False]"),
        ("distill", {"changes": {"lora": {"rank": 0}}}, "0 is less than the minimum of 1"),
        ("nightly", {"refresh": ["fliter"]}, "'fliter' is not one of"),
        ("nightly", {"config": ""}, "'' should be non-empty"),
    ],
)
def test_parameters_are_checked_by_the_server(
    server: Served, name: str, parameters: dict[str, Any], reason: str
) -> None:
    answer = server.api(
        "POST", f"/deployments/{server.deployment(name)['id']}/create_flow_run", {"parameters": parameters}
    )
    assert answer.status_code in {409, 422}
    assert reason in answer.text


def test_a_schedule_fires(server: Served) -> None:
    deployment = server.deployment("nightly")
    (schedule,) = server.post(
        f"/deployments/{deployment['id']}/schedules",
        [{"schedule": {"interval": 10}, "active": True, "parameters": {"until": "score"}}],
    )
    mine = {
        "flow_runs": {"deployment_id": {"any_": [deployment["id"]]}, "state": {"type": {"any_": ["COMPLETED"]}}}
    }
    run = until(lambda: server.post("/flow_runs/filter", mine), PATIENCE, "a scheduled run")[0]
    server.api("DELETE", f"/deployments/{deployment['id']}/schedules/{schedule['id']}").raise_for_status()
    assert run["auto_scheduled"]
    assert list(server.stages(run["id"])) == ["prepare", "teach", "score"]
    assert sorted(path.name for path in (server.folder / "store" / "artifacts").iterdir()) == [
        "prepare",
        "score",
        "teach",
    ]


def test_one_stage_with_another_bound(server: Served) -> None:
    run = server.run("filter", changes={"tau_pos": 0.4})
    assert server.finished(run) == "Completed"
    assert server.stages(run) == {"prepare": "Cached", "teach": "Cached", "score": "Cached", "filter": "Completed"}
    lines = str(server.artifacts(run)["flipkd-result"]).splitlines()
    artifact = Path(next(line.split()[1] for line in lines if line.startswith("    filter ") and "/" in line))
    manifest = Manifest.model_validate_json((artifact / "manifest.json").read_bytes())
    assert manifest.config["tau_pos"] == {"value": 0.4, "quantile": None, "precision": None}
    pairs = pl.read_parquet(artifact / "filtered.parquet").filter(pl.col("label") == 1)
    assert (pairs["kept"] == (pairs["teacher_score"] >= 0.4)).all()


def test_a_run_that_died_is_crashed_and_frees_its_slot(served: tuple[Served, PowerCut]) -> None:
    server, runs = served
    assert server.finished(runs.cut) == "Crashed"
    assert "no heartbeat" in server.get(f"/flow_runs/{runs.cut}")["state"]["message"]
    assert server.finished(runs.waiting) == "Completed"


def test_ctrl_c_ends_all_that_was_started_and_nothing_else(server: Served) -> None:
    family, other = server.family(), subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    with pytest.raises(httpx.ConnectError):
        server.get("/health")
