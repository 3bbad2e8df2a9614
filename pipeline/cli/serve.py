"""The command line's part about Prefect's server, worker and deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.base import HELP, ConfigFile, examples

app = typer.Typer(context_settings=HELP)
Silence = Annotated[
    int,
    typer.Option(
        metavar="SECONDS",
        min=10,
        help="A run that sent no heartbeat for so long is marked Crashed; one is sent every 30 s.",
    ),
]


@app.command(epilog=examples("flipkd deploy /srv/flipkd/nightly.yaml"))
def deploy(
    config: ConfigFile,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A prefect.yaml; the one of the checkout by default.")
    ] = None,
    silence: Silence = 90,
) -> None:
    """Install on the Prefect server ($PREFECT_API_URL) all that nightly runs need.

    The work pool, the limit of one GPU, the automations that mark dead runs Crashed, a deployment of the whole
    pipeline and one of each stage. Do it again after an upgrade, or to change the config's path.
    """
    import flows  # noqa: F401  # before Prefect: it sets what Prefect reads
    from flows.deploy import deploy as install

    for name in install(config, file=file, silence=silence):
        typer.echo(f"deployed {name}")


@app.command(epilog=examples("flipkd serve config.yaml --port 4300"))
def serve(
    config: ConfigFile,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the server on 127.0.0.1.")] = 4200,
    home: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Prefect's database; $PREFECT_HOME or ~/.prefect by default."),
    ] = None,
    silence: Silence = 90,
) -> None:
    """Run a Prefect server, a worker and the deployments on this machine until Ctrl-C."""
    import flows  # noqa: F401  # before Prefect: it sets what Prefect reads
    from flows.serve import serve as run

    run(config, port=port, home=home, silence=silence, told=typer.echo)
