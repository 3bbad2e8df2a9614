from __future__ import annotations

from pathlib import Path

import pytest

from data import lines as module
from data.lines import CutLine, lines, open_text, rows_by_line
from data.readers import read_rows
from data.records import Reject, Row


def read(path: Path, content: bytes, newline: str | None = "") -> list[str]:
    path.write_bytes(content)
    with open_text(path, newline) as file:
        return list(lines(file))


def test_ends_are_kept_or_made_one(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfone\r\ntwo\rthree\nfour"
    assert read(tmp_path / "x", content) == ["one\r\n", "two\r", "three\n", "four"]
    assert read(tmp_path / "x", content, None) == ["one\n", "two\n", "three\n", "four"]
    assert read(tmp_path / "x", b"") == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_is_too_long_is_cut_and_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 16)
    monkeypatch.setattr(module, "_SHOWN", 4)
    for length in range(10, 60):
        found = read(tmp_path / "x", f"{'x' * length}{end}next{end}".encode())
        assert found[-1] == f"next{end}", length
        assert isinstance(found[0], CutLine) == (length >= 16), length
        assert found[0].rstrip() == ("xxxx" if length >= 16 else "x" * length)
        assert len(found) == 2


def test_a_long_last_line_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 16)
    for length in range(10, 60):
        (found,) = read(tmp_path / "x", b"x" * length)
        assert isinstance(found, CutLine) == (length >= 16)


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_readers_reject_such_a_line_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 64)
    good = '{"a": "x"}' if name.endswith("jsonl") else "x"
    head = "" if name.endswith("jsonl") else "a\n"
    (tmp_path / name).write_text(f"{head}{good}\n{'y' * 500}\n{good}\n")
    first, cut, last = read_rows(tmp_path / name)
    assert (first, last) == (Row(1, {"a": "x"}), Row(3, {"a": "x"}))
    assert isinstance(cut, Reject)
    assert (cut.number, cut.reason) == (2, "too_long")


def test_a_long_line_inside_an_open_quote_costs_the_line_with_the_quote_and_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 64)
    (tmp_path / "rows.csv").write_text(f'a,b\n"open,1\nfine,2\n{"y" * 500}\nfine,3\n')
    found = list(read_rows(tmp_path / "rows.csv"))
    assert [row.number for row in found] == [1, 2, 3, 4]
    assert [row.reason if isinstance(row, Reject) else row.values["b"] for row in found] == [
        "bad_quoting", "2", "too_long", "3",
    ]  # fmt: skip


def test_rows_of_a_file_with_a_row_in_each_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("\ufeffone \n\n \ufefftwo\n" + "x" * 60 + "\nthree", "utf-8")
    monkeypatch.setattr(module, "LONGEST_LINE", 50)
    rows = list(rows_by_line(path, lambda number, text: Row(number, {"text": text})))
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert [row.values["text"] for row in rows if isinstance(row, Row)] == ["one", "two", "three"]
    assert isinstance(rows[2], Reject)
    assert rows[2].reason == "too_long"
