"""What `flipkd demo` ends with: questions that no training saw, against the titles of the sample's FAQ."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich.console import Console
from rich.text import Text

from data.locate import package_path
from pipeline.cli.student import answers_table

TITLES = "package:data/sample/titles.csv"
QUESTIONS = 3


def show_search(console: Console, prepared: Path, export: Path) -> None:
    """Print the best titles for some questions of test.

    Args:
        prepared, export: artifacts of the demo.
    """
    from pipeline.stages.export.catalogue_search import best_entries, open_catalogue

    catalogue = open_catalogue(export / "student", package_path(TITLES))
    asked = questions(prepared / "utterances.parquet")
    console.print(
        f"{len(asked)} questions to FAQ entries that training never saw, among {len(catalogue.texts)} titles"
    )
    for question, found in zip(asked, best_entries(catalogue, asked, k=3, candidates=10), strict=True):
        console.print(Text(question), style="bold")
        console.print(answers_table(catalogue, found))


def questions(utterances: Path, count: int = QUESTIONS) -> list[str]:
    """Questions of test: of entries spread evenly over their ids, the longest phrasing of each."""
    rows = pl.read_parquet(utterances).filter(split="test")
    longest_first = rows.sort(pl.col("text").str.len_chars(), descending=True, maintain_order=True)
    texts = longest_first.unique("id", keep="first", maintain_order=True).sort("id")["text"].to_list()
    return [texts[place * len(texts) // count] for place in range(min(count, len(texts)))]
