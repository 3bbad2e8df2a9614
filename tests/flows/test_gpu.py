"""The slot of the one GPU: held during a stage, given back, and no hindrance where nobody counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flows.gpu
from flows.gpu import LIMIT, gpu_slot
from pipeline.stages.registry import ALL_STAGES


@pytest.fixture
def limit(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with the limit, and a machine with a GPU."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    monkeypatch.setattr(flows.gpu, "gpu_present", lambda: True)
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1))
        yield LIMIT
        client.delete_global_concurrency_limit_by_name(LIMIT)


def taken(limit: str) -> int:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit).active_slots


@pytest.mark.parametrize("stage", [name for name, stage in ALL_STAGES.items() if stage.uses_gpu])
def test_a_stage_on_the_gpu_holds_the_slot(limit: str, stage: str) -> None:
    with gpu_slot(stage):
        assert taken(limit) == 1
    assert taken(limit) == 0


def test_a_stage_that_fails_gives_it_back(limit: str) -> None:
    def stage() -> None:
        with gpu_slot("teach"):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        stage()
    assert taken(limit) == 0


@pytest.mark.parametrize("stage", ["prepare", "filter"])
def test_a_stage_that_needs_no_gpu(limit: str, stage: str) -> None:
    with gpu_slot(stage):
        assert taken(limit) == 0


def test_a_machine_without_one(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.gpu, "gpu_present", lambda: False)
    with gpu_slot("teach"):
        assert taken(limit) == 0


def test_a_server_without_the_limit(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.gpu, "gpu_present", lambda: True)
    with gpu_slot("teach"):
        pass


def test_no_server_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then not even torch is asked whether there is a GPU."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    def asked() -> bool:
        raise AssertionError

    monkeypatch.setattr(flows.gpu, "gpu_present", asked)
    with temporary_settings({PREFECT_API_URL: None}), gpu_slot("teach"):
        pass
