"""The command line's part about the teacher's scores: `flipkd scores`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from data.errors import FlipkdError
from pipeline.cli.base import HELP, ConfigFile, Overrides, console, examples, load

if TYPE_CHECKING:
    import polars as pl

    from pipeline.inspection.files import Scores

app = typer.Typer()
scores = typer.Typer(no_args_is_help=True, context_settings=HELP, help="Look into the teacher's scores.")
app.add_typer(scores, name="scores")
Key = Annotated[
    str | None, typer.Option("--key", help="An artifact of filter or score, or the beginning of its key.")
]
Night = Annotated[
    int | None,
    typer.Option(
        "--night", min=1, help="An earlier run of this config: 1 the last that has scores, 2 the one before."
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write all columns to a .csv, .parquet or .jsonl file.")
]


def _scores(config: str, overrides: list[str], key: str | None = None, night: int | None = None) -> Scores:
    from pipeline.inspection.files import scores_of

    if key is not None and night is not None:
        raise typer.BadParameter("give --key or --night, not both")
    return scores_of(load(config, overrides), key, night)


def _write(found: pl.DataFrame, out: Path) -> None:
    from pipeline.inspection.rows import write_rows

    write_rows(found, out)
    typer.echo(f"Wrote {found.height} rows to {out}")


@scores.command(
    epilog=examples(
        'flipkd scores show config.yaml --where "label = 1 AND teacher_score < 0.4"',
        "flipkd scores show config.yaml --search refund --sort -teacher_score",
        "flipkd scores show config.yaml --where \"reason <> 'kept'\" -o dropped.csv",
        "flipkd scores show config.yaml --set filter.tau_pos=0.7 --where \"reason <> 'kept'\"",
    )
)
def show(
    config: ConfigFile,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Condition on the columns, as after WHERE in SQL (Polars').")
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="WORD", help="Only pairs with a text that holds it.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Sort by a column; -COLUMN from high to low.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("-n", min=1, help="At most so many rows; 20 in the terminal, all into a file.")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="So many of the rows, at random.")] = None,
    out: Out = None,
    key: Key = None,
    night: Night = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show pairs with the teacher's score and what the filter decides, by other bounds (`--set`) without a run."""
    from pipeline.inspection.rows import select_rows, shown_rows

    found, there = select_rows(
        _scores(config, overrides, key, night).rows,
        where,
        sort,
        rows or (None if out else 20),
        search=search,
        sample=sample,
    )
    if out is not None:
        _write(found, out)
        return
    terminal = console()
    if not found.height:
        typer.echo("no row fulfils the condition")
        return
    terminal.print(shown_rows(found, terminal.width))
    typer.echo(f"{found.height} of {there} rows")


@scores.command(
    epilog=examples(
        "flipkd scores path config.yaml", "duckdb -c \"FROM '$(flipkd scores path config.yaml)' LIMIT 5\""
    )
)
def path(config: ConfigFile, key: Key = None, night: Night = None, overrides: Overrides = []) -> None:  # noqa: B006
    """Print where the file lies, for DuckDB, Polars or pandas. STORE/latest/NAME/filter has the last run's too."""
    from pipeline.inspection.files import scores_file

    typer.echo(scores_file(load(config, overrides), key, night))


@scores.command(
    epilog=examples("flipkd scores describe config.yaml", "flipkd scores describe config.yaml --by source")
)
def describe(
    config: ConfigFile,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Tell the values of a column apart too.")
    ] = None,
    key: Key = None,
    night: Night = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show counts, quantiles of the score, and the share beyond the bounds, by label and split."""
    from pipeline.inspection.describe import describe_scores, description_table

    found = _scores(config, overrides, key, night)
    console().print(description_table(describe_scores(found.rows, by), found.bounds, by))


@scores.command(
    epilog=examples("flipkd scores hist config.yaml", "flipkd scores hist config.yaml --where \"split = 'dev'\"")
)
def hist(
    config: ConfigFile,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Only pairs that fulfil it.")] = None,
    key: Key = None,
    night: Night = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Draw how the scores of matches and of other pairs are spread."""
    from pipeline.inspection.describe import histogram, histogram_table
    from pipeline.inspection.rows import select_rows

    found, there = select_rows(_scores(config, overrides, key, night).rows, where, None, None)
    if not there:
        raise FlipkdError("no row fulfils the condition")
    console().print(histogram_table(histogram(found.lazy())))


@scores.command(
    epilog=examples("flipkd scores bounds config.yaml", "flipkd scores bounds config.yaml -o bounds.svg")
)
def bounds(
    config: ConfigFile,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Draw it too: a .svg, .png or .pdf file.")
    ] = None,
    key: Key = None,
    night: Night = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show what other bounds of the filter would keep and drop, and how right the teacher is there on dev."""
    from pipeline.inspection.describe import bounds_table, draw_bounds, other_bounds

    found = _scores(config, overrides, key, night)
    table = other_bounds(found.rows)
    console().print(bounds_table(table, found.bounds))
    if out is not None:
        draw_bounds(table, found.bounds, out)
        typer.echo(f"Wrote {out}")


@scores.command(
    epilog=examples(
        "flipkd scores suspects config.yaml",
        "flipkd scores suspects config.yaml -n 200 -o review.csv",
        "then fill in `verdict` (match, no match, drop) and set prepare.overrides: review.csv",
    )
)
def suspects(
    config: ConfigFile,
    rows: Annotated[int, typer.Option("-n", min=1, help="So many, the likeliest wrong ones.")] = 20,
    split: Annotated[
        Literal["train", "dev", "test", "all"], typer.Option(help="Whose labels are judged.")
    ] = "train",
    by: Annotated[
        str, typer.Option(metavar="COLUMN", help="Count suspects by the values of this column.")
    ] = "source",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write them to a .csv with a column `verdict` to fill in.")
    ] = None,
    key: Key = None,
    night: Night = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show the labels that are likeliest wrong by the teacher, and how many there may be."""
    from pipeline.evaluation.suspects import by_heart, noise_by
    from pipeline.evaluation.suspects import suspects as likeliest_wrong
    from pipeline.inspection.rows import check_column, shown_rows
    from pipeline.inspection.suspects import noise_table, write_review

    everything = _scores(config, overrides, key, night).rows
    found = likeliest_wrong(everything, ["train", "dev", "test"] if split == "all" else [split])
    if split in {"train", "all"} and (warning := by_heart(everything)):
        typer.echo(f"Note: {warning}", err=True)
    check_column(f"--by {by}", by, found.columns)
    if out is not None:
        write_review(found.head(rows), out)
        told = "Fill in `verdict` (match, no match or drop; empty leaves the label), then: prepare.overrides:"
        typer.echo(f"Wrote {min(rows, found.height)} rows to {out}. {told} {out}")
        return
    terminal = console()
    terminal.print(shown_rows(found.head(rows), terminal.width, ("label_probability",)))
    terminal.print(noise_table(noise_by(found, by)))
    typer.echo(f"{min(rows, found.height)} of {found.height} labelled pairs, the least probable labels first")


@scores.command(
    epilog=examples(
        "flipkd scores diff config.yaml",
        "flipkd scores diff config.yaml other_teacher.yaml",
        "flipkd scores diff config.yaml --before 3fa9c1 -o moved.csv",
    )
)
def diff(
    config: ConfigFile,
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="The config before; by default an earlier run of CONFIG.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="KEY", help="The artifact before, of filter or score, by its key.")
    ] = None,
    night: Annotated[int, typer.Option(min=1, help="Which run of CONFIG is the one before.")] = 2,
    rows: Annotated[
        int, typer.Option("-n", min=1, help="At most so many rows in the terminal; a file gets all.")
    ] = 20,
    out: Out = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compare two nights, bounds or teachers: which pairs came, went, changed sides, and how far scores moved."""
    from pipeline.inspection.difference import changes_table, difference
    from pipeline.inspection.rows import shown_rows

    if other is not None and before is not None:
        raise typer.BadParameter("give OTHER or --before KEY, not both")
    now = _scores(config, overrides)
    then = _scores(other, []) if other else _scores(config, overrides, before, None if before else night)
    found = difference(then.rows, now.rows)
    terminal = console()
    terminal.print(changes_table(found))
    if out is not None:
        _write(found, out)
        return
    changed = found.filter(found["change"] != "same").head(rows)
    shown = tuple(name for name in found.columns if name not in {"pair_id", "text_a", "text_b"})
    terminal.print(shown_rows(changed, terminal.width, shown))


@scores.command(
    epilog=examples(
        "flipkd scores near config.yaml --across", "flipkd scores near config.yaml --at-least 0.9 -o near.csv"
    )
)
def near(
    config: ConfigFile,
    at_least: Annotated[float, typer.Option(min=-1, max=1, help="The lowest cosine.")] = 0.95,
    across: Annotated[bool, typer.Option("--across", help="Only texts that have no split in common.")] = False,
    rows: Annotated[int, typer.Option("-n", min=1, help="So many, the nearest.")] = 20,
    out: Out = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show texts that the teacher takes for nearly the same: duplicates, and what leaks between splits."""
    from rich.rule import Rule
    from rich.text import Text

    from pipeline.config.location import store_of
    from pipeline.inspection.near import near_texts
    from pipeline.inspection.words import differing
    from pipeline.runner.plan import plan
    from pipeline.terminal.visible import visible

    settings = load(config, overrides)
    key = plan(settings, "score", download=False)[-1].key
    folder = store_of(settings).path("score", key)
    if not folder.is_dir():
        raise FlipkdError(
            f"no vectors of this config in the store. Compute them: flipkd run {config} --until score"
        )
    found = near_texts(folder / "scores.parquet", folder / "embeddings.parquet", at_least, rows, across)
    if out is not None:
        _write(found, out)
        return
    terminal = console()
    for cosine, text_1, text_2, splits_1, splits_2 in found.iter_rows():
        terminal.print(Rule(f"{cosine:.3f}  {splits_1} | {splits_2}", align="left", style="dim"))
        for text in differing(visible(text_1), visible(text_2)):
            terminal.print(text)
    if not found.height:
        terminal.print(Text(f"no two texts have a cosine of {at_least} or more"))


@scores.command(epilog=examples("flipkd scores explain config.yaml 3fa9c1d2"))
def explain(
    config: ConfigFile,
    pair_id: Annotated[str, typer.Argument(metavar="PAIR_ID", help="The pair's id, or its beginning.")],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Follow one pair through every stage, to the student's answer."""
    from rich.table import Table
    from rich.text import Text

    from pipeline.inspection.files import scores_of
    from pipeline.inspection.story import story
    from pipeline.terminal.visible import visible

    settings = load(config, overrides)
    table = Table.grid(padding=(0, 2))
    for stage, told in story(settings, scores_of(settings), pair_id):
        table.add_row(Text(stage, "bold"), Text(visible(told), overflow="fold"))
    console().print(table)
