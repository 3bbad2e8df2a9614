"""Fixtures of the tests with bad input."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.bad_input.run import Models
from tests.tiny import tiny_student, tiny_teacher


@pytest.fixture(scope="session")
def whole_models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Models without a fault."""
    folder = tmp_path_factory.mktemp("models")
    return Models(tiny_teacher(folder / "teacher"), tiny_student(folder / "student"))


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """What flipkd logs of a thousand runs is not kept."""
    logging.getLogger("flipkd").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("flipkd").setLevel(logging.NOTSET)
