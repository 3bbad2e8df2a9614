"""The command line's part about which student is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from data.errors import FlipkdError
from pipeline.cli.base import HELP, ConfigFile, Overrides, console, examples, load

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.config.config import Config
    from pipeline.promotion.history import Record
    from pipeline.store.store import Store

app = typer.Typer(context_settings=HELP)
EXPORT_KEY = "The key of an export, as `flipkd promoted` and `flipkd status` show it"
_WORDS = {"promote": "promoted", "rollback": "rolled back", "refused": "not promoted"}


@app.command(
    epilog=examples(
        "flipkd promote config.yaml",
        "flipkd promote config.yaml --dry-run",
        "flipkd promote config.yaml --set promote.tolerance=0.02",
        'flipkd promote config.yaml --force --reason "new labels, the old test pairs are wrong"',
    )
)
def promote(
    config: ConfigFile,
    key: Annotated[str | None, typer.Option(help=f"{EXPORT_KEY}; that of the config by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare and say; change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Compare nothing; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why by force; kept in the history.")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Put a config's student into use, unless it is worse than the one in use. Exit code 1: it is.

    Both are measured on the test pairs of the new one that neither was trained on. `promote` in the config says
    which score and metric, and how much worse is still accepted. Services load STORE/current/NAME/student.
    """
    from pipeline.config.location import store_of
    from pipeline.promotion.gate import force as promote_by_force
    from pipeline.promotion.gate import promote as compare_and_promote
    from pipeline.promotion.outcome import sentence

    if force != (reason is not None and bool(reason.strip())) or (force and dry_run):
        raise typer.BadParameter("give --force and --reason TEXT together, without --dry-run")
    settings = load(config, overrides)
    store = store_of(settings)
    key = _exported(settings, store, key, " ".join([config, *(f"--set {override}" for override in overrides)]))
    if force:
        outcome = promote_by_force(store, settings.promote.called, key, reason or "")
    else:
        outcome = compare_and_promote(settings, store, key, change=not dry_run)
    typer.echo(sentence(outcome))
    if outcome.refused:
        raise typer.Exit(1)


@app.command(epilog=examples("flipkd rollback config.yaml", "flipkd rollback config.yaml --key KEY"))
def rollback(
    config: ConfigFile,
    key: Annotated[str | None, typer.Option(help="Return to this one of the earlier students.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept in the history.")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Return to the student that was in use before. Again: to the one before that.

    The student that is left is not promoted again by itself: `flipkd promote --force` does that.
    """
    from pipeline.config.location import store_of
    from pipeline.promotion.link import roll_back

    settings = load(config, overrides)
    record = roll_back(store_of(settings), settings.promote.called, key, reason)
    typer.echo(f"{settings.promote.called}: rolled back to {record.key} from {record.previous or 'nothing'}")


@app.command(epilog=examples("flipkd promoted config.yaml", "flipkd promoted config.yaml -n 50"))
def promoted(
    config: ConfigFile,
    rows: Annotated[int, typer.Option("-n", min=1, help="At most so many records, the latest.")] = 20,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show which student is in use, what a rollback returns to, and how it came to that."""
    from pipeline.config.location import store_of
    from pipeline.promotion.history import earlier, history
    from pipeline.promotion.link import link_of, linked_key

    settings = load(config, overrides)
    store, name = store_of(settings), settings.promote.called
    records, current = history(store, name), linked_key(store, name)
    missing = "" if current is None or store.path("export", current).is_dir() else ", WHICH IS NOT IN THE STORE"
    typer.echo(f"in use: {current or 'none'}{missing} ({link_of(store, name)})")
    typer.echo(f"before: {', '.join(earlier(records, current)) or 'none'}")
    if records:
        console().print(_table(records, current, rows))


def _exported(config: Config, store: Store, key: str | None, arguments: str) -> str:
    """The key of the export to promote.

    Raises:
        FlipkdError: it is not in the store.
    """
    from pipeline.runner.plan import plan

    if key is None:
        key = plan(config, download=False)[-1].key
        advice = f"the config's student is not there yet: flipkd run {arguments}"
    else:
        known = ", ".join(other for stage, other in store.artifacts() if stage == "export")
        advice = f"there are {known}" if known else "there is none at all"
    try:
        there = store.path("export", key).is_dir()
    except FlipkdError:
        there = False
    if not there:
        raise FlipkdError(f"no export {key} in {store.root}: {advice}")
    return key


def _table(records: list[Record], current: str | None, rows: int) -> Table:
    """The latest records, the newest last."""
    from rich.table import Table
    from rich.text import Text

    from pipeline.promotion.history import moves

    happened = [id(record) for record in moves(records, current)]
    table = Table()
    for column in ("time (UTC)", "what", "student"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=1)
    for record in records[-rows:]:
        what = _WORDS[record.action] + (" by force" if record.forced else "")
        if record.action != "refused" and id(record) not in happened:
            what = "interrupted"
        table.add_row(record.time[:16].replace("T", " "), what, record.key, Text(record.reason))
    return table
