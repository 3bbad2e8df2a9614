"""Files as people have them: packed, of Excel, of Kaggle, of a labelling tool, of datasets."""

from __future__ import annotations

import gzip
import json
import logging
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from data.errors import FlipkdError
from data.readers import header, read_rows
from data.records import Reject, Row
from tests.checkout import ROOT

CASES = ROOT.parent / "shared" / "cases"
CSV = 'text_a,text_b\n"one, two",three\nfour,\n'
ROWS = [Row(1, {"text_a": "one, two", "text_b": "three"}), Row(2, {"text_a": "four", "text_b": ""})]


def packed(folder: Path, kind: str) -> Path:
    path = folder / f"pairs.csv.{kind}"
    if kind == "gz":
        path.write_bytes(gzip.compress(CSV.encode()))
        return path
    path = folder / "pairs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner/pairs.csv", CSV)
        archive.writestr("__MACOSX/._pairs.csv", "x")
    return path


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_packed_files_are_read(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path, kind)
    assert header(path) == ["text_a", "text_b"]
    assert list(read_rows(path)) == ROWS


def test_a_packed_file_that_is_cut_short_says_where(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv.gz"
    rows = "".join(f"{n * 7919},{n * 104729}\n" for n in range(40000))
    whole = gzip.compress(f"text_a,text_b\n{rows}".encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FlipkdError, match=r"pairs\.csv\.gz: reading failed after row \d+: Compressed file ended"):
        list(read_rows(path))
    path.write_bytes(b"text_a,text_b\nnot,packed\n")
    with pytest.raises(FlipkdError, match=r"pairs\.csv\.gz: cannot be opened: Not a gzipped file"):
        header(path)


def test_a_zip_of_several_files_names_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", CSV)
    with pytest.raises(FlipkdError, match=r"two\.zip: holds 2 files; unpack it"):
        header(tmp_path / "two.zip")
    (tmp_path / "no.zip").write_text("text", "utf-8")
    with pytest.raises(FlipkdError, match=r"no\.zip: not a zip archive"):
        header(tmp_path / "no.zip")


def test_rows_of_commas_alone_are_no_rows_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "excel.csv"
    path.write_text("text_a,text_b,\none,two,\n,,\nthree,four,\n" + ",,\n" * 50, "utf-8")
    assert list(read_rows(path)) == [
        Row(1, {"text_a": "one", "text_b": "two", "": ""}),
        Row(2, {"text_a": "three", "text_b": "four", "": ""}),
    ]
    assert "excel.csv: 51 rows of delimiters alone are left out" in caplog.text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_separator_that_excel_names_is_obeyed(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "excel.csv"
    rows = [["text_a", "text_b"], ['"a, b; c"', "d"]]
    lines = [f"sep={delimiter}", *(delimiter.join(row) for row in rows)]
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", "utf-8")
    assert header(path) == ["text_a", "text_b"]
    assert list(read_rows(path)) == [Row(1, {"text_a": "a, b; c", "text_b": "d"})]


def test_a_tsv_that_is_quoted_throughout(tmp_path: Path) -> None:
    path = tmp_path / "kaggle.tsv"
    path.write_text('"id"\t"text"\n"1"\t"she said ""no"""\n"2"\t"two\nlines"\n', "utf-8")
    assert header(path) == ["id", "text"]
    assert list(read_rows(path)) == [
        Row(1, {"id": "1", "text": 'she said "no"'}),
        Row(2, {"id": "2", "text": "two\nlines"}),
    ]
    path.write_text('"id\ttext"\n1\t"one stray quote\n', "utf-8")  # some quotes alone are characters
    assert list(read_rows(path)) == [Row(1, {'"id': "1", 'text"': '"one stray quote'})]


def test_a_json_array_with_its_inner_texts(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    items = [{"id": 1, "data": {"text_a": "one", "more": {"x": [2]}}}, 7, {"id": 3, "data": None}]
    path.write_text(json.dumps(items, indent=1), "utf-8")
    first, second, third = read_rows(path)
    assert isinstance(first, Row)
    assert first.values["data.text_a"] == "one"
    assert first.values["data.more.x"] == [2]
    assert second == Reject(2, "not_json", "7")
    assert third == Row(3, {"id": 3, "data": None})
    assert "data.text_a" in header(path)
    path.write_text('{"a": 1}\n{"a": 2}\n', "utf-8")  # lines, under this ending too
    assert [row.values for row in read_rows(path) if isinstance(row, Row)] == [{"a": 1}, {"a": 2}]
    path.write_text('[{"a": 1}', "utf-8")
    with pytest.raises(FlipkdError, match=r"labels\.json: not a JSON array"):
        list(read_rows(path))


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_files_and_streams(tmp_path: Path, stream: bool) -> None:
    path = tmp_path / "set.arrow"
    frame = pl.DataFrame({"text": [f"text {n}" for n in range(40_000)], "label": [n % 2 for n in range(40_000)]})
    (frame.write_ipc_stream if stream else frame.write_ipc)(path)
    assert header(path) == ["text", "label"]
    rows = list(read_rows(path, columns=["text"]))
    assert len(rows) == 40_000
    assert rows[39_999] == Row(40_000, {"text": "text 39999"})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FlipkdError, match=r"set\.arrow: cannot be read as Arrow"):
        list(read_rows(path))


def test_feather(tmp_path: Path) -> None:
    import pyarrow.feather

    pyarrow.feather.write_feather(pa.table({"text": ["a", None]}), str(tmp_path / "a.feather"))
    assert list(read_rows(tmp_path / "a.feather")) == [Row(1, {"text": "a"}), Row(2, {"text": None})]


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("quoted_fields.tsv", "question1"), ("excel_sep_line_comma.csv", "text_a"),
        ("excel_sep_line_semicolon.csv", "text_a"), ("excel_empty_rows.csv", "text_a"),
        ("label_studio.json", "data.text_a"), ("hf_dataset.arrow", "text_a"), ("pairs.csv.gz", "text_a"),
    ],
)  # fmt: skip
def test_files_that_people_could_not_read(name: str, column: str) -> None:
    assert column in header(CASES / name)
    rows = list(read_rows(CASES / name))
    assert len(rows) > 10
    assert all(isinstance(row, Row) and row.values[column].strip('"') == row.values[column] for row in rows)
