from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from data.readers import check_columns, file_format, header, read_rows
from data.records import Reject, Row


def write(folder: Path, content: bytes | str, name: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_format_by_ending() -> None:
    assert [file_format(Path(n)) for n in ("a.CSV", "a.tsv", "a.ndjson", "a.pq")] == [
        "csv",
        "tsv",
        "jsonl",
        "parquet",
    ]
    assert file_format(Path("a.csv"), "tsv") == "tsv"
    with pytest.raises(FlipkdError, match=r"a\.txt.*set `format`"):
        file_format(Path("a.txt"))


def test_jsonl(tmp_path: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"t": "one", "n": 1}\r\n', b"\n", b'{"t": "two\\nlines"}\n', b"[1, 2]\n", b'{"t": \n',
        b'{"t": "caf\xe9"}\n', '{"t": "怎么"}'.encode(),
    ]  # fmt: skip
    one, two, not_object, broken, latin, last = read_rows(write(tmp_path, b"".join(lines), "rows.jsonl"))
    assert one == Row(1, {"t": "one", "n": 1})
    assert two == Row(2, {"t": "two\nlines"})
    assert not_object == Reject(3, "not_json", '"[1, 2]"')
    assert broken == Reject(4, "not_json", '"{\\"t\\":"')
    assert isinstance(latin, Reject)
    assert (latin.number, latin.reason, json.loads(latin.raw)) == (5, "not_utf8", '{"t": "caf\\xe9"}')
    assert last == Row(6, {"t": "怎么"})


def test_jsonl_columns_are_the_keys_of_many_rows(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": "x"}\n{"a": "y", "label": 1}\n', "rows.jsonl")
    assert header(path) == ["a", "label"]


def test_parquet_by_batches(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"t": [f"text {n}" for n in range(20_000)], "n": range(20_000), "other": [[1.0]] * 20_000}
    )
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=3_000)
    rows = list(read_rows(tmp_path / "rows.parquet", columns=["t", "n"]))
    assert rows[-1] == Row(20_000, {"t": "text 19999", "n": 19_999})
    assert [row.number for row in rows] == list(range(1, 20_001))


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"caf\xe9", None], pa.binary())
    text = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    pq.write_table(pa.table({"t": text}), tmp_path / "rows.parquet")
    assert [row.values["t"] for row in read_rows(tmp_path / "rows.parquet") if isinstance(row, Row)] == [
        "fine", "caf\udce9", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-be"), "NUL bytes"),
        (b"PK\x03\x04rest", "zip archive"),
        (gzip.compress(b"a,b\n1,2\n"), "gzip"),
        (bytes(1000), "NUL bytes"),
        (b"PAR1rest", "a Parquet file"),
    ],
)
def test_a_file_that_is_no_text_is_one_clear_error(tmp_path: Path, content: bytes, what: str) -> None:
    path = write(tmp_path, content, "rows.csv")
    for attempt in (lambda: check_columns(path, "auto", None, ["a"]), lambda: list(read_rows(path))):
        with pytest.raises(FlipkdError, match=what) as caught:
            attempt()
        assert "rows.csv" in str(caught.value)


def test_parquet_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match="cannot be read as Parquet"):
        header(write(tmp_path, "a,b\n", "rows.parquet"))


def test_missing_column_names_the_columns_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path, "one,two\n1,2\n", "rows.csv")
    check_columns(path, "auto", None, ["one", "two"])
    with pytest.raises(
        FlipkdError, match=r"rows\.csv: no column 'three'; the columns are 'one', 'two'.*column_names"
    ):
        check_columns(path, "auto", None, ["three"])


def test_hints_for_other_separators(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match="format: tsv"):
        check_columns(write(tmp_path, "one\ttwo\n", "tabs.csv"), "auto", None, ["one"])
    with pytest.raises(FlipkdError, match="format: tsv"):
        check_columns(write(tmp_path, "1\ttwo\n", "tabs2.csv"), "auto", ["n", "t"], ["n"])
    with pytest.raises(FlipkdError, match="semicolons"):
        check_columns(write(tmp_path, "one;two\n", "semicolons.csv"), "auto", None, ["one"])


def test_column_that_stands_twice(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match="more than once"):
        check_columns(write(tmp_path, "a,b,a\n1,2,3\n", "rows.csv"), "auto", None, ["a"])


def test_column_names_must_fit(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n", "rows.csv")
    with pytest.raises(FlipkdError, match="lists 3 columns, the first row has 2"):
        check_columns(path, "auto", ["x", "y", "z"], ["x"])
    with pytest.raises(FlipkdError, match="its first line is a header"):
        check_columns(path, "auto", ["a", "b"], ["a"])
    jsonl = write(tmp_path, "{}", "rows.jsonl")
    with pytest.raises(FlipkdError, match="for CSV and TSV"):
        check_columns(jsonl, "auto", ["a"], ["a"])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match="cannot be opened"):
        list(read_rows(tmp_path / "none.csv"))
