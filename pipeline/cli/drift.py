"""The command line's part about how far the data moved."""

from __future__ import annotations

import typer

from data.errors import FlipkdError
from pipeline.cli.base import HELP, ConfigFile, Overrides, console, examples, load

app = typer.Typer(context_settings=HELP)


@app.command(
    epilog=examples("flipkd drift config.yaml", "flipkd drift config.yaml --set drift.teacher_scores=0.05")
)
def drift(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Compare a config's data with those behind the student in use. Exit code 1: a stop limit is passed.

    Compared are teacher scores, text lengths, the share of rejected rows and the share of positives. The stages up
    to score must have run. `flipkd run` does the same before it trains a student.
    """
    from pipeline.config.location import store_of
    from pipeline.drift.check import measure_drift
    from pipeline.drift.view import drift_table
    from pipeline.runner.plan import plan

    settings = load(config, overrides)
    if not settings.drift.enabled:
        typer.echo("drift.enabled is false: nothing is compared")
        return
    store, steps = store_of(settings), plan(settings, "score", download=False)
    missing = [step.stage for step in steps if not store.path(step.stage, step.key).exists()]
    if {"prepare", "score"} & set(missing):
        raise FlipkdError(
            f"{' and '.join(missing)} of this config {'has' if len(missing) == 1 else 'have'} not run in "
            f"{store.root}. Compute what is compared first: flipkd run {config} --until score"
        )
    report = measure_drift(settings, store, steps)
    if report is None:
        typer.echo(
            f"no student is in use under the name {settings.promote.called}: there is nothing to compare with"
        )
        return
    console().print(drift_table(report))
    if report.passed("stop"):
        raise typer.Exit(1)
