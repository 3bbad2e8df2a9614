"""How our Parquet files are written, seen by another reader."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import schema as module
from data.schema import embeddings_schema, read_metadata, with_metadata, write_table, write_tables

NUMBERS = pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("text", pa.string())])


def table(start: int, stop: int, characters: int = 3) -> pa.Table:
    return pa.table({"n": range(start, stop), "text": ["x" * characters] * (stop - start)}, NUMBERS)


def test_tables_of_any_size_become_row_groups_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", 10)
    path = tmp_path / "a.parquet"
    write_tables([table(0, 3), table(3, 3), table(3, 28), table(28, 31)], path, NUMBERS)
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [10, 10, 10, 1]
    assert duckdb.read_parquet(str(path)).select("n").fetchall() == [(n,) for n in range(31)]


def test_long_texts_end_a_row_group_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROW_GROUP_BYTES", 1000)
    write_tables([table(n, n + 1, 600) for n in range(5)], tmp_path / "a.parquet", NUMBERS)
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [2, 2, 1]


def test_no_rows_are_a_file_with_columns(tmp_path: Path) -> None:
    write_tables([], tmp_path / "a.parquet", NUMBERS)
    assert duckdb.read_parquet(str(tmp_path / "a.parquet")).columns == ["n", "text"]


def test_metadata_is_json_and_absent_metadata_is_nothing(tmp_path: Path) -> None:
    write_table(table(0, 1), tmp_path / "a.parquet", with_metadata(NUMBERS, {"teacher": "é", "n": 1}))
    write_table(table(0, 1), tmp_path / "b.parquet", NUMBERS)
    assert read_metadata(tmp_path / "a.parquet") == {"teacher": "é", "n": 1}
    assert read_metadata(tmp_path / "b.parquet") == {}


def test_columns_are_brought_into_order_and_a_null_is_refused(tmp_path: Path) -> None:
    turned = pa.table({"text": ["a"], "n": [1]})
    write_table(turned, tmp_path / "a.parquet", NUMBERS)
    assert pq.read_schema(tmp_path / "a.parquet").equals(NUMBERS)
    with pytest.raises(ValueError, match="null"):
        write_table(pa.table({"text": ["a"], "n": [None]}), tmp_path / "b.parquet", NUMBERS)


def test_embeddings_are_lists_of_one_length(tmp_path: Path) -> None:
    rows = pa.table({"text_id": [0], "text": ["a"], "embedding": [np.ones(4, np.float32)]}, embeddings_schema(4))
    write_table(rows, tmp_path / "a.parquet", embeddings_schema(4))
    assert duckdb.read_parquet(str(tmp_path / "a.parquet")).select("embedding").fetchall() == [([1.0] * 4,)]
