from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import FlipkdError
from data.readers import check_columns, read_rows
from data.records import Reject, Row


def write(folder: Path, content: bytes | str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_quotes_line_breaks_cjk_and_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufefftext,id\r\n"two\r\nlines, ""quoted""",1\r\n怎么改,2\r\n\r\nlast,3')
    assert list(read_rows(path)) == [
        Row(1, {"text": 'two\r\nlines, "quoted"', "id": "1"}),
        Row(2, {"text": "怎么改", "id": "2"}),
        Row(3, {"text": "last", "id": "3"}),
    ]


def test_lone_carriage_returns_end_lines(tmp_path: Path) -> None:
    assert [row.number for row in read_rows(write(tmp_path, "a,b\r1,2\r3,4\r"))] == [1, 2]


def test_file_without_header(tmp_path: Path) -> None:
    path = write(tmp_path, "1,x\n2,y\n")
    assert list(read_rows(path, column_names=["n", "t"])) == [
        Row(1, {"n": "1", "t": "x"}),
        Row(2, {"n": "2", "t": "y"}),
    ]


def test_ragged_rows_are_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    first, short, long, last = read_rows(write(tmp_path, "a,b\n1,2\n1\n1,2,3\n5,6\n"))
    assert (first.number, last) == (1, Row(4, {"a": "5", "b": "6"}))
    assert short == Reject(2, "ragged_row", '["1"]')
    assert long == Reject(3, "ragged_row", '["1", "2", "3"]')


def test_bytes_that_are_not_utf8_cost_their_row_alone(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\ncaf\xe9,1\nfine,2\n\xe6\x80,3\nnul\0,4\n")
    latin, fine, cut, nul = read_rows(path)
    assert isinstance(latin, Reject)
    assert latin.reason == "not_utf8"
    assert json.loads(latin.raw) == {"a": r"caf\xe9", "b": "1"}
    assert fine == Row(2, {"a": "fine", "b": "2"})
    assert isinstance(cut, Reject)
    assert (cut.number, cut.reason) == (3, "not_utf8")
    assert isinstance(nul, Reject)
    assert nul.reason == "nul_byte"


def test_a_quote_never_closed_does_not_swallow_the_file(tmp_path: Path) -> None:
    lines = [f"text {n},{n}" for n in range(20_000)]
    lines[3] = '"never closed,3'
    lines[10] = '"closed" too early,10'
    rows = list(read_rows(write(tmp_path, "\n".join(["t,n", *lines]))))
    assert [row.number for row in rows] == list(range(1, 20_001))
    bad = [row for row in rows if isinstance(row, Reject)]
    assert [(row.number, row.reason) for row in bad] == [(4, "bad_quoting"), (11, "bad_quoting")]
    assert json.loads(bad[0].raw) == '"never closed,3\n'


def test_one_huge_field_is_too_long(tmp_path: Path) -> None:
    huge, fine = read_rows(write(tmp_path, "t,n\n" + "x" * 200_000 + ",1\ny,2\n"))
    assert isinstance(huge, Reject)
    assert huge.reason == "too_long"
    assert fine == Row(2, {"t": "y", "n": "2"})


def test_tsv_knows_no_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, 'a\tb\n"half\tone\n"whole"\ttwo\n', "rows.tsv")
    assert [row.values for row in read_rows(path) if isinstance(row, Row)] == [
        {"a": '"half', "b": "one"},
        {"a": '"whole"', "b": "two"},
    ]


def test_header_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match="first line cannot be read"):
        check_columns(write(tmp_path, b"caf\xe9,b\n1,2\n"), "csv", None, ["b"])


@given(st.lists(st.tuples(st.text("a,\"\n\r é怎'"), st.text("b,\"\n\r é怎'")).filter(any), max_size=8))
def test_whatever_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *rows])
    assert list(read_rows(path)) == [Row(n, {"a": a, "b": b}) for n, (a, b) in enumerate(rows, 1)]
