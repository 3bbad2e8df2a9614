"""The command line's part about which student is in use."""

from __future__ import annotations

import typer

from pipeline.cli_base import HELP

app = typer.Typer(context_settings=HELP)
