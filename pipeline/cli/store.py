"""The command line's part about what the artifact store holds: `runs`, `lineage`, `verify`, `gc`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data.errors import FlipkdError
from pipeline.cli.base import HELP, console, examples, load

if TYPE_CHECKING:
    from pipeline.store.store import Store

app = typer.Typer(context_settings=HELP)
OptionalConfig = Annotated[
    str | None,
    typer.Argument(metavar="CONFIG", help="A config, whose store is meant; `demo` too.", show_default=False),
]
StorePath = Annotated[
    Path | None,
    typer.Option("--store", metavar="FOLDER", help="The store; by default the config's, $FLIPKD_HOME or .flipkd."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog=examples("flipkd runs config.yaml", "flipkd runs --store .flipkd -n 5"))
def runs(
    config: OptionalConfig = None,
    store: StorePath = None,
    count: Annotated[int, typer.Option("-n", min=1, help="At most so many, the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs of a store, the newest first: how they ended, what was computed, what settings had changed."""
    from pipeline.cli.runs_view import runs_json, runs_table
    from pipeline.runner.runs import runs as all_runs

    found = all_runs(_store(config, store))
    if as_json:
        typer.echo(runs_json(found[-count:]))
    elif found:
        console().print(runs_table(found, count))
    else:
        typer.echo("no run is recorded in this store")


@app.command(
    epilog=examples(
        "flipkd lineage 3fa9c1 --store .flipkd",
        "flipkd lineage export/3fa9c1 config.yaml",
        "flipkd lineage .flipkd/current/demo",
    )
)
def lineage(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A key or its beginning, STAGE/KEY, or an artifact's folder.")
    ],
    config: OptionalConfig = None,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what an artifact came from, back to raw files and models, and what was made from it."""
    import json

    from pipeline.cli.lineage_view import lineage_tree, used_by_line
    from pipeline.housekeeping.lineage import find_artifact
    from pipeline.housekeeping.lineage import lineage as lineage_of

    told = lineage_of(*find_artifact(_store(config, store), key))
    if as_json:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    terminal = console()
    terminal.print(lineage_tree(told))
    terminal.print(used_by_line(told), markup=False, highlight=False)


@app.command(epilog=examples("flipkd verify config.yaml", "flipkd verify --store .flipkd --remove"))
def verify(
    config: OptionalConfig = None,
    store: StorePath = None,
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Remove damaged artifacts; the next run that needs one makes it again."),
    ] = False,
) -> None:
    """Check every file in the store against its digest. Exit code 1 if something is wrong."""
    from rich.filesize import decimal

    from pipeline.cli.verify_view import findings_table
    from pipeline.housekeeping.verify import remove_damaged, verify_store

    place = _store(config, store)
    verdict = verify_store(place)
    if verdict.findings:
        console().print(findings_table(verdict))
    for problem in verdict.others:
        typer.echo(f"Problem: {problem}")
    size = decimal(verdict.bytes)
    typer.echo(f"{verdict.artifacts} artifacts, {verdict.files} files, {size} checked: {_outcome(verdict.ok)}")
    if any(finding.foreign for finding in verdict.findings):
        typer.echo("Move the files that are not an artifact's own elsewhere: nothing vouches for them.")
    if verdict.damaged and not remove:
        typer.echo(
            f"`flipkd run {config or 'CONFIG'}` makes damaged artifacts that it needs again; "
            "`flipkd verify --remove` removes them all."
        )
    if remove:
        removed, stays = remove_damaged(place, verdict)
        for finding in removed:
            typer.echo(f"Removed {finding.stage}/{finding.key}")
        for finding, reason in stays:
            typer.echo(f"Left {finding.stage}/{finding.key}: {reason}")
    if not verdict.ok:
        raise typer.Exit(1)


def _outcome(ok: bool) -> str:
    return "all as they were written" if ok else "NOT all as they were written"


@app.command(
    epilog=examples(
        "flipkd gc config.yaml",
        "flipkd gc config.yaml other.yaml --keep-days 7 --max-size 50GB --delete",
    )
)
def gc(
    configs: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONFIG", help="The configs in use, all of one store: what they need stays."),
    ] = None,
    store: StorePath = None,
    keep_days: Annotated[
        float, typer.Option(min=0, help="What a run of the last so many days used stays, and what is as young.")
    ] = 14.0,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="20GB, say: above it, what only recent runs need goes too, the longest unused first.",
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Do it. Without this only show what would go.")] = False,
) -> None:
    """Show, and with --delete remove, what no config given, student in use or recent run needs."""
    from rich.filesize import decimal

    from pipeline.cli.garbage_view import garbage_table, kept_line, parse_size
    from pipeline.housekeeping.garbage import find_garbage
    from pipeline.housekeeping.garbage_removal import remove_garbage

    limit = None if max_size is None else parse_size(max_size)
    place, steps, baselines = _plans(configs or [], store)
    garbage = find_garbage(place, steps, keep_days=keep_days, max_bytes=limit, baselines=baselines)
    if garbage.items:
        console().print(garbage_table(garbage))
    freed, total = decimal(garbage.bytes), decimal(garbage.store_bytes)
    typer.echo(f"{place.root}: {total}; {kept_line(garbage)}")
    if garbage.over_limit:
        typer.echo(f"Still {decimal(garbage.over_limit)} above {max_size}: all that is left is needed.")
    if not delete:
        typer.echo(f"{freed} would go. To do it: --delete" if garbage.items else "Nothing to remove.")
        return
    removed, stays = remove_garbage(place, garbage)
    for item, reason in stays:
        typer.echo(f"Left {item.path.relative_to(place.root)}: {reason}")
    typer.echo(f"Removed {len(removed)} of {len(garbage.items)}: {decimal(sum(i.bytes for i in removed))} freed.")


# ---------------------------------------------------------------------------------------------------- help


def _store(config: str | None, folder: Path | None) -> Store:
    """The store that is meant.

    Raises:
        FlipkdError: a config and a folder are given, or there is no store.
    """
    from pipeline.config.location import default_store, store_of
    from pipeline.store.store import Store

    if config is not None and folder is not None:
        raise FlipkdError("give a config or --store, not both: the config says which store is its own")
    if folder is not None:
        store = Store(folder.expanduser().absolute())
    else:
        store = default_store() if config is None else store_of(load(config, []))
    if not store.root.is_dir():
        raise FlipkdError(f"there is no store at {store.root}; give a config, or --store FOLDER")
    return store


def _plans(configs: list[str], folder: Path | None) -> tuple[Store, list, list[str]]:
    """The store of the configs, and what they need.

    Raises:
        FlipkdError: they have different stores, or what one needs cannot be known.
    """
    from pipeline.config.location import store_of
    from pipeline.runner.plan import plan

    if not configs:
        return _store(None, folder), [], []
    store = _store(configs[0], folder)
    loaded = {path: load(path, []) for path in configs}
    for path, config in loaded.items():
        if store_of(config).root.resolve() != store.root.resolve():
            raise FlipkdError(
                f"{path} has the store {store_of(config).root}, {configs[0]} {store.root}; one at a time"
            )
    steps = []
    for path, config in loaded.items():
        try:
            steps += plan(config, download=False)
        except FlipkdError as error:
            raise FlipkdError(f"{path}: {error}. What it needs must be known before anything is removed") from None
    baselines = {config.drift.baseline for config in loaded.values()} - {"in_use"}
    return store, steps, sorted(baselines)
