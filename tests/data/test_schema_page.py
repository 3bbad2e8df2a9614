"""The page of columns is what the schemas say, and every column says something."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from data.schema_page import FILES, meaning, page
from tests.checkout import ROOT


def test_the_page_is_not_stale() -> None:
    assert (ROOT / "docs/COLUMNS.md").read_text("utf-8") == page()


def test_every_column_has_a_meaning() -> None:
    assert [(name, field.name) for name, fields in FILES.items() for field in fields if not meaning(field)] == []


def test_the_meaning_stands_in_the_files(tiny_run: Path) -> None:
    for name in FILES:
        for path in (tiny_run / "store/artifacts").glob(name.replace("/", "/*/")):
            fields = pq.read_schema(path)
            assert all(meaning(field) for field in fields)
    (filtered,) = (tiny_run / "store/artifacts/filter").glob("*/filtered.parquet")
    assert meaning(pq.read_schema(filtered).field("target")).startswith("the label, kept or not")
