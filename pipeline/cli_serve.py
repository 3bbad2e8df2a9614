"""The command line's part about Prefect's server, worker and deployments."""

from __future__ import annotations

import typer

from pipeline.cli_base import HELP

app = typer.Typer(context_settings=HELP)
