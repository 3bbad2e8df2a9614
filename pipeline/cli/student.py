"""What a shipped student is used for: `flipkd predict` scores a file, `flipkd ask` answers at a prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.cli.base import console, examples

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.stages.export.catalogue_search import Catalogue

app = typer.Typer()
StudentFolder = Annotated[Path, typer.Argument(help="The folder `student` of an export.")]
Candidates = Annotated[
    int, typer.Option(min=1, help="How many of the encoder's first entries the decoder ranks anew.")
]
Index = Annotated[
    Path | None, typer.Option(help="A .safetensors file that keeps the entries' vectors for the next time.")
]
ExportedAs = Literal["reranker"]
StoredAs = Literal["fp32", "bf16"]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the code that the student's base model brings.")
]


@app.command(
    epilog=examples(
        "flipkd predict .flipkd/artifacts/export/KEY/student pairs.csv -o scored.csv",
        "flipkd predict student questions.csv --catalogue titles.csv -k 5 -o answers.parquet",
    )
)
def predict(
    student: StudentFolder,
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, Parquet or Arrow with pairs, or with queries.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: .csv, .jsonl or .parquet.")],
    text_a: Annotated[str, typer.Option(help="Pairs: column of the first text.")] = "text_a",
    text_b: Annotated[str, typer.Option(help="Pairs: column of the second text.")] = "text_b",
    catalogue: Annotated[
        Path | None,
        typer.Option(help="A file of entries: find the best of them for each query of the other file."),
    ] = None,
    text: Annotated[str, typer.Option(help="With a catalogue: column of the queries.")] = "text",
    entry: Annotated[str, typer.Option(help="With a catalogue: column of the entries' texts.")] = "title",
    k: Annotated[int, typer.Option("-k", min=1, help="With a catalogue: entries for each query.")] = 5,
    candidates: Candidates = 10,
    index: Index = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Score pairs with a student, or find the entries of a catalogue for queries; every column is kept.

    Pairs get the columns `decoder`, `encoder`, `fused` and `match`. With `--catalogue` there is a row for each
    query and each of its best entries, with `rank`, `entry`, `entry_row` and the scores.
    """
    from pipeline.stages.export.text_file import check_named, check_place

    if catalogue is None:
        check_named(file, {"--text-a": text_a, "--text-b": text_b})
        from pipeline.stages.export.predict import predict as predict_pairs

        summary = predict_pairs(
            student, file, out, text_a=text_a, text_b=text_b, trust_remote_code=trust_remote_code
        )
    else:
        check_named(file, {"--text": text})
        check_named(catalogue, {"--entry": entry})
        check_place(out, file, catalogue)
        from pipeline.stages.export.catalogue_search import open_catalogue, search_file

        opened = open_catalogue(student, catalogue, text=entry, index=index, trust_remote_code=trust_remote_code)
        summary = search_file(opened, file, out, text=text, k=k, candidates=candidates)
    typer.echo(f"Wrote {out}: {', '.join(f'{name} {value}' for name, value in summary.items())}")


@app.command(
    epilog=examples(
        "flipkd export .flipkd/current/demo/student -o reranker",
        "flipkd export student --as reranker --dtype bf16 -o reranker",
    )
)
def export(
    student: StudentFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; it must not be there.")],
    kind: Annotated[
        ExportedAs,
        typer.Option(
            "--as",
            help="`reranker`: the decoder, its adapter merged into the base, as sentence-transformers' own "
            "CrossEncoder, which transformers alone reads too; without any code of flipkd.",
        ),
    ] = "reranker",
    dtype: Annotated[
        StoredAs | None,
        typer.Option(help="Of the weights, by default the student's; bf16 halves the folder."),
    ] = None,
) -> None:
    """Write a student as a folder that needs no code of flipkd, and compare its scores in a clean process."""
    from pipeline.stages.export.reranker import export_reranker

    found = export_reranker(student, out, dtype)
    typer.echo(
        f"Wrote {out} as a {kind}: CrossEncoder({str(out)!r}). In a clean process its scores are the student's "
        f"decoder within {found['student']:.1g}, and transformers alone gives them within "
        f"{found['transformers']:.1g}. See {out / 'README.md'}."
    )


@app.command(
    "serve-student",
    epilog=examples(
        "flipkd serve-student .flipkd/current/demo/student",
        "flipkd serve-student student --catalogue titles.csv --port 8010",
        """curl -d '{"pairs": [["freeze my card", "cancel my card"]]}' -H 'content-type: application/json' """
        "127.0.0.1:8000/match",
    ),
)
def serve_student(
    student: StudentFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one and tells it.")] = 8000,
    host: Annotated[
        str,
        typer.Option(help="The address to listen at; another than this lets others ask, without a log-in."),
    ] = "127.0.0.1",
    catalogue: Annotated[
        Path | None,
        typer.Option(help="A file of entries for `/search`; they are embedded at the start."),
    ] = None,
    text: Annotated[str, typer.Option(help="With a catalogue: column of the entries' texts.")] = "title",
    candidates: Candidates = 10,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Answer questions over HTTP until Ctrl-C: `/match`, `/embed`, `/search`, `/health`.

    What comes while the student is busy is computed together. One process is one device; start more of
    them behind a proxy.
    """
    from pipeline.stages.export.text_file import check_named

    if catalogue is not None:
        check_named(catalogue, {"--text": text})
    from pipeline.service.serve import serve_student as serve

    serve(
        student,
        host=host,
        port=port,
        catalogue=catalogue,
        text=text,
        candidates=candidates,
        trust_remote_code=trust_remote_code,
    )


@app.command(
    epilog=examples(
        "flipkd ask .flipkd/current/demo/student titles.csv --text title",
        'flipkd ask student titles.csv -k 3 --question "my card is gone"',
    )
)
def ask(
    student: StudentFolder,
    entries: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet with a column of entries' texts.")],
    text: Annotated[str, typer.Option(help="Column of the entries' texts.")] = "title",
    question: Annotated[
        list[str], typer.Option(help="Ask this and end; may be given several times. Without it, a prompt.")
    ] = [],  # noqa: B006
    k: Annotated[int, typer.Option("-k", min=1, help="Entries shown for a question.")] = 5,
    candidates: Candidates = 10,
    index: Index = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Ask a catalogue questions: the best entries with the student's scores. An empty line ends it."""
    from rich.text import Text

    from pipeline.stages.export.text_file import check_named

    check_named(entries, {"--text": text})
    from pipeline.stages.export.catalogue_search import best_entries, open_catalogue
    from pipeline.terminal.visible import visible

    catalogue = open_catalogue(student, entries, text=text, index=index, trust_remote_code=trust_remote_code)
    terminal = console()
    for asked in question or _typed():
        if question:
            terminal.print(Text(visible(asked)), style="bold")
        terminal.print(answers_table(catalogue, best_entries(catalogue, [asked], k, candidates)[0]))


def _typed() -> Any:
    """What is typed, or stands in standard input, line by line, until an empty line or its end."""
    if sys.stdin.isatty():
        typer.echo("Type a question; an empty line ends it.")
    while True:
        if sys.stdin.isatty():
            typer.echo("? ", nl=False)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line


def answers_table(catalogue: Catalogue, found: list[dict[str, Any]]) -> Table:
    """The entries of one question, best first, with every score that the student has."""
    from rich.table import Table
    from rich.text import Text

    from pipeline.terminal.visible import visible

    names = [name for name in ("fused", "decoder", "encoder") if name in found[0]]
    table = Table()
    table.add_column("", justify="right")
    table.add_column("entry", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    for rank, row in enumerate(found, start=1):
        scores = [f"{row[name]:.3f}" for name in names]
        table.add_row(str(rank), Text(visible(catalogue.texts[row["entry"]])), *scores)
    return table
