"""Entries of a catalogue for a file of queries: the numbers of the student, every column, no half-written file."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from data.errors import FlipkdError
from models.student.load import load_student, score_pairs
from pipeline.stages.export.catalogue_search import open_catalogue, search_file

ENTRIES = "title,note\nfreeze card,x\nlost card,y\nfreeze card,again\nfever of child,z\n"
QUERIES = "ticket,text\n7,how do i freeze my card\n8, what dose for my child \n"


@pytest.fixture(scope="session")
def student(tiny_run: Path) -> Path:
    return next((tiny_run / "store/artifacts/export").glob("*/student"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "entries.csv").write_text(ENTRIES, encoding="utf-8")
    (tmp_path / "queries.csv").write_text(QUERIES, encoding="utf-8")
    return tmp_path


def test_a_row_for_each_query_and_entry_with_the_students_scores(student: Path, folder: Path) -> None:
    catalogue = open_catalogue(student, folder / "entries.csv")
    assert (catalogue.texts, catalogue.rows) == (["freeze card", "lost card", "fever of child"], [1, 2, 4])
    found = search_file(catalogue, folder / "queries.csv", folder / "out.parquet", k=2)
    assert found == {"queries": 2, "rows": 4}
    rows = duckdb.read_parquet(str(folder / "out.parquet"))
    assert rows.columns == ["ticket", "text", "rank", "entry", "entry_row", "decoder", "encoder", "fused"]
    model = load_student(student)
    for ticket, query in (("7", "how do i freeze my card"), ("8", "what dose for my child")):
        every = score_pairs(model, [(query, entry) for entry in catalogue.texts], 8)
        expected = sorted(range(3), key=lambda n: -every["fused"][n])[:2]
        own = pl.read_parquet(folder / "out.parquet").filter(ticket=ticket)
        assert own["entry"].to_list() == [catalogue.texts[n] for n in expected]
        assert own["entry_row"].to_list() == [catalogue.rows[n] for n in expected]
        assert own["rank"].to_list() == [1, 2]
        for name in ("decoder", "encoder", "fused"):
            assert own[name].to_list() == pytest.approx([every[name][n] for n in expected], abs=1e-5)


def test_vectors_are_kept_in_a_file_that_is_asked_for(student: Path, folder: Path) -> None:
    index = folder / "entries.safetensors"
    first = open_catalogue(student, folder / "entries.csv", index=index)
    written = index.stat().st_mtime_ns
    again = open_catalogue(student, folder / "entries.csv", index=index)
    assert (again.vectors == first.vectors).all()
    assert index.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("entries", "queries", "said"),
    [
        ("title\na\n \n", QUERIES, r"entries\.csv: row 2 has no text in 'title'"),
        ("name\na\n", QUERIES, r"entries\.csv: no column 'title'; the columns are 'name'"),
        ("title\n", QUERIES, r"entries\.csv: holds no entry"),
        (ENTRIES, "text,rank\na,1\n", r"queries\.csv: already has rank, which predict adds"),
        (ENTRIES, "question\na\n", r"queries\.csv: no column 'text'"),
    ],
)
def test_bad_files_are_told_and_nothing_is_written(
    student: Path, folder: Path, entries: str, queries: str, said: str
) -> None:
    (folder / "entries.csv").write_text(entries, encoding="utf-8")
    (folder / "queries.csv").write_text(queries, encoding="utf-8")
    with pytest.raises(FlipkdError, match=said):
        search_file(
            open_catalogue(student, folder / "entries.csv"), folder / "queries.csv", folder / "out.parquet"
        )
    assert sorted(file.name for file in folder.iterdir()) == ["entries.csv", "queries.csv"]
