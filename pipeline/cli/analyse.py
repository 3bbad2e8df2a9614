"""The command line's part that looks closer at one student: retrieval and attribution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.base import HELP, ConfigFile, Overrides, examples, load

if TYPE_CHECKING:
    from pipeline.contract.stage_names import SideStageName

app = typer.Typer(context_settings=HELP)
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="A folder to copy the result to; it stays in the store anyway.")
]
StoreFolder = Annotated[str | None, typer.Option("--store", help="Artifact store, in place of the config's own.")]


@app.command(
    epilog=examples(
        "flipkd retrieve benchmarks/banking77.yaml -o results",
        "flipkd retrieve demo --queries 100 --set retrieve.phrasings=3",
    )
)
def retrieve(
    config: ConfigFile,
    out: Out = None,
    queries: Annotated[
        int | None, typer.Option(min=1, help="At most so many questions; short for --set retrieve.queries=N.")
    ] = None,
    store: StoreFolder = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Rank FAQ entries for unseen questions: the student's encoder, its decoder on the first ten, the teacher.

    The config's input must be utterances with an FAQ id. The student is trained if it is not in the store.
    """
    given = [] if queries is None else [f"retrieve.queries={queries}"]
    folder = _look(config, "retrieve", store, [*overrides, *given], out)
    typer.echo((folder / "retrieval.md").read_text("utf-8"))
    typer.echo(f"Wrote {out or folder}: retrieval.json, retrieval.md, retrieval.parquet")


@app.command(epilog=examples("flipkd attribution config.yaml", "flipkd attribution config.yaml -o results"))
def attribution(
    config: ConfigFile,
    out: Out = None,
    store: StoreFolder = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show which sites carry the signal: AUROC on dev of every linear layer alone, as a heat map.

    The student is trained if it is not in the store.
    """
    folder = _look(config, "attribution", store, overrides, out)
    import polars as pl

    from pipeline.stages.attribution.view import markdown

    typer.echo(markdown(pl.read_parquet(folder / "attribution.parquet")))
    typer.echo(f"Wrote {out or folder}: attribution.parquet, attribution.png")


def _look(path: str, look: SideStageName, store: str | None, overrides: list[str], out: Path | None) -> Path:
    """Run the stage; returns the artifact's folder, whose files are copied to `out`."""
    import shutil

    config = load(path, overrides)
    if store is not None:
        config = config.model_copy(update={"store": store})
    from pipeline.runner.check import checked_side_plan
    from pipeline.store.disk import make_output

    # Before Prefect starts: what is wrong is told at once, and no empty folder stays.
    steps = checked_side_plan(config, look)
    if out is not None:
        make_output(out)
    from flows.local import quiet_prefect

    with quiet_prefect():
        from flows.analyse import analyse

        reference = analyse(config, steps)
    from pipeline.config.location import store_of

    artifacts = store_of(config)
    folder = artifacts.path(reference["stage"], reference["key"])
    if out is not None:
        for name in artifacts.manifest(reference["stage"], reference["key"]).files:
            shutil.copy2(folder / name, out / name)
    return folder
