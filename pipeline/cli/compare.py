"""The command line's part about comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.base import HELP, examples

app = typer.Typer(context_settings=HELP)


@app.command(
    epilog=examples(
        "flipkd compare benchmarks/paper.yaml -o results",
        "flipkd compare benchmarks/paper.yaml -o results --jobs 2",
        "flipkd compare benchmarks/paper.yaml -o results --dry-run",
    )
)
def compare(
    config: Annotated[Path, typer.Argument(help="A YAML or TOML file: datasets, variants, seeds.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to.")] = Path("comparison"),
    store: Annotated[str | None, typer.Option(help="Artifact store, in place of the configs' own.")] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Students at a time, each in a process with a share of the cores and memory of its own.",
        ),
    ] = 1,
    there_only: Annotated[
        bool, typer.Option("--there-only", help="Compare the students that are measured already; train none.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the configs and list the students.")
    ] = False,
) -> None:
    """Train and measure many variants of a student on the same data, and say which are better.

    What variants share (prepared pairs, teacher, scores, kept activations, passes over texts) is computed once.
    A comparison that was cut off goes on where it was. Every student's numbers are written once they are known.
    """
    from pipeline.comparison.config import all_jobs, load_comparison

    comparison = load_comparison(config)
    wanted = all_jobs(comparison, str(Path(store).expanduser().absolute()) if store else None)
    if dry_run:
        for dataset, variant, seed, _ in wanted:
            typer.echo(f"{dataset} {variant} seed {seed}")
        return
    from pipeline.comparison.students import planned_students
    from pipeline.store.disk import make_output

    students = planned_students(wanted)  # before Prefect starts: what is wrong is told at once
    make_output(out)
    from flows.compare import run_comparison
    from flows.local import quiet_prefect

    with quiet_prefect():
        typer.echo(run_comparison(comparison, students, out, jobs, there_only))
    typer.echo(f"Wrote {out}: comparison.parquet, summary.parquet, comparison.md, comparison.png")
