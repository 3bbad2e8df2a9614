"""What `flipkd run` and `flipkd demo` end with: the headline table, example pairs, and where everything lies."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.locate import shortened
from pipeline.evaluation.headline import SCORES, example_pairs, metrics_table, read_metrics
from pipeline.stages.registry import ALL_STAGES
from pipeline.store.store import Store
from pipeline.terminal.visible import visible


def show_result(console: Console, store: Store, artifacts: dict[str, dict[str, str]]) -> None:
    """Print the result of a run: metrics and examples if `export` was run, and the paths of what there is."""
    if "export" in artifacts:
        export = store.path("export", artifacts["export"]["key"])
        console.print(headline_table(export), examples_table(export))
    paths = Table.grid(padding=(0, 2))
    for name in reversed(artifacts):  # what people look for first, a run makes last
        for what, file in ALL_STAGES[name].results:
            path = store.path(name, artifacts[name]["key"]) / file
            if path.exists():
                paths.add_row(what, Text(readable_path(path)))
    console.print(paths)


def headline_table(export: Path) -> Table:
    """Teacher, decoder, encoder and fused on test, with intervals."""
    rows = metrics_table(read_metrics(export))
    table = Table(title="test (95 % intervals)", title_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if name == "score" else "right")
    for row in rows:
        table.add_row(*row.values())
    return table


def examples_table(export: Path) -> Table:
    """Example pairs of test with their label and all four scores; of long texts the beginning."""
    table = Table(title="five pairs of test", title_justify="left", show_lines=True)
    table.add_column("text_a", overflow="fold", ratio=1)
    table.add_column("text_b", overflow="fold", ratio=1)
    for name in ("label", *SCORES):
        table.add_column(name, justify="right", no_wrap=True)
    for pair in example_pairs(export):
        label = "" if pair["label"] is None else str(pair["label"])
        # As `Text`: rich would take [words in brackets] for markup.
        texts = (Text(shortened(visible(pair[name]))) for name in ("text_a", "text_b"))
        table.add_row(*texts, label, *(f"{pair[name]:.3f}" for name in SCORES))
    return table


def readable_path(path: Path) -> str:
    """Relative to the working directory where it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
