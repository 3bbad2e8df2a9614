"""The command line `flipkd`. Nothing heavy is imported here: each command imports what it needs when it runs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pipeline.cli import analyse, compare, drift, promote, scores, serve, store, student
from pipeline.cli.base import HELP, ConfigFile, Guarded, Overrides, Until, console, examples, load, stop_by_signal
from pipeline.contract.stage_names import StageName

if TYPE_CHECKING:
    from pipeline.config.config import Config


app = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
    help="flipkd: a small BERT teaches a large language model to match texts."
    "\n\nSix stages. The teacher's half ends in scores that people read: prepare, teach, score, filter. "
    "The student's half ends in a model that people use: distill, export. "
    "What is there already is not computed again.",
    epilog=examples(
        "flipkd demo",
        "flipkd init config.yaml, fill in prepare.inputs, flipkd run config.yaml",
    ),
)


def _stages(names: list[str]) -> list[str]:
    for name in names:
        if name not in get_args(StageName):
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(get_args(StageName))}")
    return names


Refresh = Annotated[
    list[str],
    typer.Option(
        metavar="STAGE",
        callback=_stages,
        help="Run this stage again although its result is there. May be given several times. "
        "Later stages go by settings and inputs, so they stay as they are: name them too if they should follow.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"flipkd {importlib.metadata.version('flipkd')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and log more.")] = False,
) -> None:
    from pipeline.terminal.log_lines import set_up_logging

    set_up_logging(debug)


@app.command(
    epilog=examples(
        "flipkd run config.yaml --until filter",
        "flipkd run config.yaml --refresh filter",
        "flipkd run config.yaml --set filter.tau_pos=0.4 --set distill.epochs=1",
    )
)
def run(config: ConfigFile, until: Until = None, refresh: Refresh = [], overrides: Overrides = []) -> None:  # noqa: B006
    """Run the pipeline: only the stages whose input or settings have changed are computed.

    With `--set` it is a trial: `promote: auto` then promotes nothing, unless `--set promote=auto` says so.
    """
    from pipeline.config.load import trial_if_changed

    _run(trial_if_changed(load(config, overrides), overrides), until, refresh)


@app.command(epilog=examples("flipkd demo --set distill.epochs=1"))
def demo(overrides: Overrides = []) -> None:  # noqa: B006
    """Run the pipeline on flipkd's own FAQ sample and two packaged models; then ask the student questions."""
    settings = load("demo", overrides)
    artifacts = _run(settings, None, [])
    if settings.prepare.inputs == load("demo", []).prepare.inputs:  # the questions are about this FAQ
        from pipeline.cli.demo_search import show_search
        from pipeline.config.location import store_of

        store = store_of(settings)
        show_search(console(), *(store.path(name, artifacts[name]["key"]) for name in ("prepare", "export")))


@app.command(epilog=examples("flipkd init faq.yaml --input pairs.csv", "flipkd init --full all.yaml"))
def init(
    path: Annotated[Path, typer.Argument(help="The file to write; nothing is overwritten.")] = Path("flipkd.yaml"),
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input",
            metavar="FILE",
            help="A file of pairs or utterances, or a retrieval set's folder; its header and first rows fill in "
            "kind, columns and labels. May be given more than once: beside questions with an id, a file of the "
            "entries (id, title) is taken as their catalogue.",
        ),
    ] = [],  # noqa: B006
    full: Annotated[bool, typer.Option("--full", help="Write every key, explained.")] = False,
) -> None:
    """Write a commented config: what a first run needs, or every key."""
    from pipeline.config.init import write_config

    write_config(path, inputs, full)
    advice = "Look at prepare.inputs" if inputs else "Fill in prepare.inputs"
    typer.echo(f"Wrote {path}. {advice}, then: flipkd run {path}")


@app.command(epilog=examples("flipkd status config.yaml", "flipkd status config.yaml --set filter.tau_pos=0.4"))
def status(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Show for each stage whether its result is there: key, age, size, summary. Computes nothing."""
    from pipeline.cli.status_view import status_view
    from pipeline.runner.status import status as states

    terminal = console()
    terminal.print(status_view(states(load(config, overrides)), terminal.width))


for _part in (
    scores,
    student,
    compare,
    analyse,
    drift,
    promote,
    store,
    serve,
):  # their commands stand beside those above
    app.add_typer(_part.app)


# ---------------------------------------------------------------------------------------------------- help


def _run(config: Config, until: StageName | None, refresh: list[str]) -> dict[str, dict[str, str]]:
    from pipeline.runner.check import checked_plan

    steps = checked_plan(config, until)  # before Prefect starts: a wrong config is told at once
    from flows.flip import flip_planned
    from flows.local import quiet_prefect
    from pipeline.cli.result_view import show_result
    from pipeline.config.location import store_of

    with quiet_prefect():
        artifacts = flip_planned(config, steps, refresh)
    show_result(console(), store_of(config), artifacts)
    return artifacts


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, stop_by_signal)
    app()
