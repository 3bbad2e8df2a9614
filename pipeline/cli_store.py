"""The command line's part about what the artifact store holds."""

from __future__ import annotations

import typer

from pipeline.cli_base import HELP

app = typer.Typer(context_settings=HELP)
