"""What `serve` and `deploy` refuse before they reach Prefect; `tests/flows/test_serve.py` runs a server."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["serve", "demo", "--port", "0"], "--port"),
        (["serve", "demo", "--port", "70000"], "--port"),
        (["serve", "demo", "--silence", "5"], "--silence"),
        (["deploy", "demo", "--silence", "0"], "--silence"),
        (["deploy"], "CONFIG"),
    ],
)
def test_numbers_out_of_range_and_a_missing_config_are_usage_errors(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert named in result.stderr


@pytest.mark.parametrize("command", ["serve", "deploy"])
def test_a_config_that_is_not_there_is_named_before_anything_starts(command: str) -> None:
    result = CliRunner().invoke(app, [command, "/nowhere/nightly.yaml"], env={"PREFECT_API_URL": ""})
    assert result.exit_code == 1
    assert "/nowhere/nightly.yaml" in result.stderr
