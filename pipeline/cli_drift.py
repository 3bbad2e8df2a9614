"""The command line's part about how far the data moved."""

from __future__ import annotations

import typer

from pipeline.cli_base import HELP

app = typer.Typer(context_settings=HELP)
