"""A run is called by its config and by what changed since the last one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.naming import run_name
from pipeline.config.location import store_of
from tests.tiny import tiny_config


def _latest() -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        return client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)[0].name


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a run, and a run after it: what is copied lies elsewhere, which is a change too."""
    from flows.flip import flip

    folder = shutil.copytree(tiny_run, tmp_path / "copy", symlinks=True)
    flip(tiny_config(folder), until="filter")
    return folder


def test_the_page_says_what_changed(folder: Path) -> None:
    from flows.flip import flip

    flip(tiny_config(folder, filter={"tau_pos": 0.25}), until="filter")
    assert _latest() == "default: filter.tau_pos quantile 0.05 -> 0.25"
    flip(tiny_config(folder, filter={"tau_pos": 0.25}), until="filter")
    assert _latest() == "default"


def test_many_changes_are_counted(folder: Path) -> None:
    changed = tiny_config(folder, teach={"epochs": 2, "batch_size": 8}, filter={"tau_pos": 0.5, "tau_neg": 0.75})
    name = run_name(changed, store_of(changed))
    assert name == "default: teach.epochs 1 -> 2, teach.batch_size 16 -> 8, 2 more"


def test_other_names_are_other_runs(folder: Path) -> None:
    config = tiny_config(folder, promote={"name": "bank"}, filter={"tau_pos": 0.5})
    assert run_name(config, store_of(config)) == "bank"
    new = tiny_config(folder.parent / "new")
    assert run_name(new, store_of(new)) == "default"


def test_a_server_that_refuses_costs_the_name_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import flows.naming
    from flows.flip import flip

    def refuses(**_: Any) -> Any:
        raise httpx.ConnectError("no")

    monkeypatch.setattr(flows.naming, "get_client", refuses)
    assert list(flip(tiny_config(folder), until="prepare")) == ["prepare"]
