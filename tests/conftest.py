"""Fixtures that all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows  # noqa: F401  # before anything imports Prefect: it sets what Prefect reads

# Before anything imports torch. A second thread costs tiny models more than it gives: the tests take two fifths
# less processor time with one, and two of them run at a time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server with its own database, for all tests that run the flow."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOCAL_STORAGE_PATH,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    storage = tmp_path_factory.mktemp("prefect")
    with (
        temporary_settings({PREFECT_LOCAL_STORAGE_PATH: str(storage), PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        prefect_test_harness(server_startup_timeout=120),
    ):
        yield


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    """A folder with tiny models, pairs, and a store in which the flow has run once. Copy it; do not change it."""
    from flows.flip import flip
    from tests.tiny import tiny_config

    folder = tmp_path_factory.mktemp("tiny_run")
    flip(tiny_config(folder))
    return folder


@pytest.fixture
def flipkd_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What flipkd logs, although the command line may have cut its logger off from the root."""
    logger = logging.getLogger("flipkd")
    logger.addHandler(caplog.handler)
    before, logger.propagate = logger.propagate, False
    level = logger.level
    logger.setLevel(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.propagate, level = before, logger.setLevel(level)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    """A folder in which four variants were compared, two seeds each; `calls.json` lists the stages that ran."""
    import json

    from pipeline.comparison.config import load_comparison
    from tests.comparisons import comparison_file, record_runs, run_planned

    folder = tmp_path_factory.mktemp("compare")
    config = load_comparison(comparison_file(folder))
    with pytest.MonkeyPatch.context() as patch:
        calls: list[str] = []
        record_runs(patch, calls)
        run_planned(config, folder / "out")
        (folder / "calls.json").write_text(json.dumps(calls), "utf-8")
    return folder
