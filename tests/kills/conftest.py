"""What the tests of killed runs share: a process to fork from, and a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.config import Config
from tests.checkout import ROOT
from tests.kills.harness import Harness, forkserver, small_config


@pytest.fixture(scope="session")
def url(prefect_server: None) -> Iterator[str]:
    """Of the tests' Prefect server, with the process that runs are forked from."""
    from prefect.settings import PREFECT_API_URL

    with forkserver(ROOT):
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="session")
def reference(url: str, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A config whose store was filled by one undisturbed run. Do not change it."""
    folder = tmp_path_factory.mktemp("reference")
    config = small_config(folder / "models")
    with Harness(url, folder, config) as harness:
        harness.finish()
    return config


@pytest.fixture
def harness(url: str, reference: Config, tmp_path: Path) -> Any:
    """Make a harness on a config; used with `with`."""

    def make(config: Config) -> Harness:
        return Harness(url, tmp_path / "runs", config)

    return make
