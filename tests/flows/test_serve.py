"""What `flipkd deploy` and `flipkd serve` say when they cannot; that they can is in test_deployments."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from data.errors import FlipkdError
from pipeline.stages.registry import STAGES
from tests.checkout import ROOT as CHECKOUT


def test_the_port_is_taken() -> None:
    from flows.serve import serve

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(FlipkdError, match=f"port {port} of 127.0.0.1 cannot be used: Address already in use"):
            serve("demo", port=port, home=None, silence=90, told=lambda _: None)


def test_a_wrong_config_is_told_before_a_server_starts(tmp_path: Path) -> None:
    from flows.serve import serve

    with pytest.raises(FlipkdError, match="no such config"):
        serve(str(tmp_path / "absent.yaml"), port=1, home=None, silence=90, told=lambda _: None)


def test_prefects_folder_is_taken(tmp_path: Path) -> None:
    from flows.serve import serve

    with (
        FileLock(tmp_path / "flipkd-serve.lock"),
        pytest.raises(FlipkdError, match=rf"another `flipkd serve` runs on Prefect's folder {tmp_path}.*--home"),
    ):
        serve("demo", port=free_port(), home=tmp_path, silence=90, told=lambda _: pytest.fail("started"))
    (tmp_path / "file").write_text("not a folder", "utf-8")
    with pytest.raises(FlipkdError, match=r"file/home cannot be used: Not a directory\. Choose --home"):
        serve("demo", port=free_port(), home=tmp_path / "file/home", silence=90, told=lambda _: None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_server_is_configured() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.deploy import deploy

    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(FlipkdError, match="no Prefect server is configured"),
    ):
        deploy("demo")


def test_the_server_does_not_answer() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.deploy import deploy

    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(FlipkdError, match=r"http://127\.0\.0\.1:9/api does not answer"),
    ):
        deploy("demo")


def test_no_prefect_yaml(tmp_path: Path) -> None:
    from flows.deploy import deploy

    with pytest.raises(FlipkdError, match="no such file"):
        deploy("demo", file=tmp_path / "prefect.yaml")


def test_prefect_yaml_has_a_deployment_for_every_flow() -> None:
    from prefect.flows import load_flow_from_entrypoint

    found = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert [one["name"] for one in found] == ["nightly", *STAGES]
    for one in found:
        path, _, name = one["entrypoint"].partition(":")
        assert load_flow_from_entrypoint(f"{CHECKOUT / path}:{name}").name == one["name"]
        assert "schedules" not in one  # nothing starts by itself before somebody says when


def test_packages_of_the_working_directory_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.serve import _child

    (tmp_path / "prefect.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "log").open("wb") as log, _child(dict(os.environ), log, "--help") as child:
        assert child.wait(60) == 0
    assert "deploy" in (tmp_path / "log").read_text("utf-8")
