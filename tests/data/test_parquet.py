from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from data.parquet import Unreadable, _rows_that_fit, column_names_of, read_parquet
from data.records import raw_json


def test_values_that_python_has_no_type_for(tmp_path: Path) -> None:
    table = pa.table(
        {
            "time": pa.array([2**60], pa.timestamp("us")),
            "list": pa.array([[b"caf\xe9"]], pa.list_(pa.binary())),
            "fine": ["x"],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    (row,) = read_parquet(tmp_path / "rows.parquet", None)
    assert isinstance(row.values["time"], Unreadable)
    assert row.values["fine"] == "x"
    assert json.loads(raw_json(row.values))["list"] == ["caf\\xe9"]


def test_texts_that_are_not_utf8_inside_a_list(tmp_path: Path) -> None:
    inner = pa.array([b"caf\xe9", b"tea"]).view(pa.string())
    lists = pa.ListArray.from_arrays([0, 1, 2], inner)
    pq.write_table(pa.table({"list": lists, "n": [1, 2]}), tmp_path / "rows.parquet")
    bad, good = read_parquet(tmp_path / "rows.parquet", None)
    assert isinstance(bad.values["list"], Unreadable)
    assert good.values == {"list": ["tea"], "n": 2}


def test_batches_shrink_where_rows_are_long(tmp_path: Path) -> None:
    def rows_of(texts: pa.Array) -> int:
        pq.write_table(pa.table({"t": texts, "n": range(len(texts))}), tmp_path / "rows.parquet")
        return _rows_that_fit(pq.read_metadata(tmp_path / "rows.parquet").row_group(0), ["t"])

    megabyte = "x" * 2**20
    assert rows_of(pa.array([f"text {n}" for n in range(20_000)])) > 50
    assert rows_of(pa.array([f"{n} {megabyte}" for n in range(20)])) <= 64
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([megabyte]))
    assert rows_of(repeated) <= 64


def test_a_file_that_breaks_off_says_after_which_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"t": [f"text {n}" for n in range(3000)]}), path, row_group_size=1000, compression="none"
    )
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(content))
    assert column_names_of(path) == ["t"]
    with pytest.raises(FlipkdError, match=r"rows\.parquet: cannot be read as Parquet after row 2000: "):
        list(read_parquet(path, None))
