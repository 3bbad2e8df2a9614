"""A user's file read in chunks with every column, and an output that appears when it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from pipeline.stages.export.text_file import check_place, chunks, inspect, written


def test_every_column_and_row_comes_back_in_chunks(tmp_path: Path) -> None:
    rows = [{"text": f" t{n}\n", "n": n, "x": [n] if n % 2 else None} for n in range(5)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    schema, count = inspect(path, ["text"], ["rank"])
    assert count == 5
    read = list(chunks(path, schema, 2, ["text"]))
    found = [table for table, _ in read]
    assert [table.num_rows for table in found] == [2, 2, 1]
    whole = pa.concat_tables(found).to_pydict()
    assert whole == {
        "text": [r["text"] for r in rows],
        "n": [0, 1, 2, 3, 4],
        "x": [None, "[1]", None, "[3]", None],
    }
    assert read[0][1] == [("t0",), ("t1",)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("text,rank\na,1\n", "already has rank"),
        ("other\na\n", "no column 'text'"),
        ("text\na\n \n", "row 2 has no text in 'text'"),
        ("text,b\na,1\nc\n", r"row 2 cannot be read \(ragged_row\)"),
    ],
)
def test_what_cannot_be_used_is_told_before_any_work(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(FlipkdError, match=said):
        inspect(tmp_path / "a.csv", ["text"], ["rank"])


ROWS = {"text": ['say "hi", you', "two\nlines", None], "n": [1, None, 3], "x": [0.5, 0.25, None]}


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.NDJSON", "a.parquet", "a"])
def test_the_ending_says_how_it_is_written(tmp_path: Path, name: str) -> None:
    table, out = pa.table(ROWS), tmp_path / name
    with written(out, table.schema) as file:
        file.write_table(table.slice(0, 2))
        file.write_table(table.slice(2))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    ending = out.suffix.lower()
    if ending == ".csv":
        found = pd.read_csv(out)
    elif ending in {".jsonl", ".ndjson"}:
        found = pd.DataFrame([json.loads(line) for line in out.read_text("utf-8").splitlines()])
    else:
        found = pd.read_parquet(out)
    assert found["text"].to_list()[:2] == ROWS["text"][:2]
    assert found.isna().to_numpy().tolist() == [[False] * 3, [False, True, False], [True, False, True]]
    assert found["x"].to_list()[:2] == [0.5, 0.25]


def test_csv_has_no_room_for_lists(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string()), ("words", pa.list_(pa.string()))])
    with (
        pytest.raises(FlipkdError, match=r"CSV has no room for 'words'.*\.jsonl or \.parquet"),
        written(tmp_path / "a.csv", schema),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\na\n", "utf-8")
    (tmp_path / "link.csv").symlink_to(path)
    for out in (path, tmp_path / "link.csv", tmp_path / ".." / tmp_path.name / "a.csv"):
        with pytest.raises(FlipkdError, match="is the input, which is not written over"):
            check_place(out, tmp_path / "other.csv", path)
    check_place(tmp_path / "b.csv", path)
    assert path.read_text("utf-8") == "text\na\n"


def test_a_file_appears_when_it_is_whole_or_not_at_all(tmp_path: Path) -> None:
    schema, out = pa.schema([("n", pa.int64())]), tmp_path / "out.parquet"

    def stopped_half_way() -> None:
        with written(out, schema) as file:
            file.write_table(pa.table({"n": [1]}, schema))
            assert not out.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_half_way()
    assert list(tmp_path.iterdir()) == []
    with written(out, schema) as file:
        file.write_table(pa.table({"n": [2]}, schema))
    assert pq.read_table(out).to_pydict() == {"n": [2]}
    assert list(tmp_path.iterdir()) == [out]
