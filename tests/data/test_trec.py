"""TREC's files of judgements."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.readers import header, read_rows
from data.records import Reject, Row
from data.trec import is_trec, read_trec


def test_rows_and_what_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "qrels.txt"
    path.write_bytes(b"q1 0 d1 2\n\n  q1\t0\td 2\n7 Q0 d3 -1\nq\xff 0 d1 1\n")
    rows = list(read_trec(path))
    assert rows == [
        Row(1, {"query-id": "q1", "iteration": "0", "corpus-id": "d1", "score": "2"}),
        Row(2, {"query-id": "q1", "iteration": "0", "corpus-id": "d", "score": "2"}),
        Row(3, {"query-id": "7", "iteration": "Q0", "corpus-id": "d3", "score": "-1"}),
        Reject(4, "not_utf8", '"q\\\\xff 0 d1 1"'),
    ]
    assert list(read_rows(path, "trec")) == rows
    assert header(path, "trec") == ["query-id", "iteration", "corpus-id", "score"]


def test_too_few_fields_are_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "qrels.txt"
    path.write_text("q1 0 d1 1\nq1 d2 1\n", "utf-8")
    assert list(read_trec(path))[1] == Reject(2, "ragged_row", '"q1 d2 1"')


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("q1 0 d1 1", True), ("q1\t0\td1\t-2", True), ("query-id\tcorpus-id\tscore", False),
        ("query-id iteration corpus-id score", False), ("q1\td1\t1", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_written_as_trec_does(tmp_path: Path, first: str, expected: bool) -> None:
    path = tmp_path / "file"
    path.write_text(first + "\n", "utf-8")
    assert is_trec(path) is expected
