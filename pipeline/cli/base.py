"""What the modules of the command line share: how errors end a command, common arguments, the console."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from data.errors import FlipkdError
from pipeline.contract.stage_names import StageName
from pipeline.terminal.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config.config import Config


STOPPED = "Stopped. The stages that are complete stay; the next run goes on from there."


class Guarded(TyperGroup):
    """Turns what a user can mend into one message on stderr, and Ctrl-C into one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FlipkdError as error:
            if ctx.params.get("debug"):
                raise
            typer.echo(f"Error: {visible(str(error))}", err=True)
            raise typer.Exit(1) from None
        except OSError as error:  # the disk is full, say; other system errors are flipkd's own fault
            from pipeline.store.disk import disk_problem

            problem = disk_problem(error, Path.cwd())
            if problem is None or ctx.params.get("debug"):
                raise
            typer.echo(f"Error: {visible(problem)}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            if ctx.params.get("debug"):
                raise
            typer.echo(STOPPED, err=True)
            raise typer.Exit(130) from None


def stop_by_signal(number: int, _: object) -> None:
    """Handler of SIGTERM: one line, and the end that the signal asked for.

    While a flow runs Prefect's own handler stands before it: the run is marked Crashed, the stage cleans up. Dying
    by a signal skips what Python does at its end, so the embedded server and other processes are ended here.
    """
    os.write(2, f"{STOPPED}\n".encode())  # a signal may come in the middle of a print
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()  # the embedded server is deaf to less (flows/embedded.py)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def examples(*commands: str) -> str:
    """An epilog of `--help`: a command per line."""
    return "\n\n".join(["Examples:", *(f"  {command}" for command in commands)])


HELP = {"help_option_names": ["-h", "--help"]}
ConfigFile = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="A YAML or TOML file, or `demo` for the one that ships with flipkd."),
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the config; dotted, the value as in YAML. May be given several times.",
    ),
]
Until = Annotated[StageName | None, typer.Option(help="The last stage to run; all by default.")]


def load(path: str, overrides: list[str]) -> Config:
    from pipeline.config.load import load_config
    from pipeline.config.overrides import parse_overrides

    return load_config(path, parse_overrides(overrides))


def console() -> Console:
    """Standard output; where it is no terminal, wide enough for the tables."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140, soft_wrap=False)
