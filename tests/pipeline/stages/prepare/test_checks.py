"""What prepare demands of its input and its result, as a user is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data.collect import SPLITS
from data.errors import FlipkdError
from tests.pipeline.stages.prepare.test_run import good, prepared, write


def test_splits_that_leak_by_our_own_fault_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last check reads the finished file, so it finds what the splitting code gets wrong."""

    def wrong(rows: pl.DataFrame, **_: Any) -> pl.Series:
        return pl.Series("split", [SPLITS[n % 3] for n in range(rows.height)], pl.Enum(SPLITS))

    monkeypatch.setattr("pipeline.stages.prepare.run.assign_splits", wrong)
    rows = [[f"first text {n // 6}", f"second text {n}", n // 3 % 2] for n in range(60)]
    with pytest.raises(
        FlipkdError, match=r"the text 'first text 0' stands in train \(rows\.csv row 1, text_a\) and"
    ):
        prepared(tmp_path, {"path": write(tmp_path, rows)})


def test_too_many_rejects_are_an_error_with_examples(tmp_path: Path) -> None:
    path = write(tmp_path, [*good(8), ["a", "b", "maybe"], ["", "b", 1]])
    with pytest.raises(FlipkdError) as caught:
        prepared(tmp_path, {"path": path}, max_rejected=0.1)
    message = str(caught.value)
    assert "2 of 10 rows were rejected (20.0%), above `prepare.max_rejected: 0.1`" in message
    assert (
        'bad_label: 1 (a label is neither 0 nor 1 (or true, false, empty)), first rows.csv row 9: {"text_a"'
        in message
    )
    assert not list((tmp_path / "out").iterdir())


def test_latin1_file_is_explained(tmp_path: Path) -> None:
    rows = "".join(f"caf\xe9 {n},th\xe9 {n},1\n" for n in range(20))
    (tmp_path / "rows.csv").write_bytes(("text_a,text_b,label\n" + rows).encode("latin-1"))
    with pytest.raises(FlipkdError, match="save the file as UTF-8"):
        prepared(tmp_path, {"path": str(tmp_path / "rows.csv")})


def test_a_leak_between_given_files_is_an_error(tmp_path: Path) -> None:
    train, test = (
        write(tmp_path, good(10), "train.csv"),
        write(tmp_path, [*good(4, 50), ["x", "First text 3", 1]], "test.csv"),
    )
    with pytest.raises(FlipkdError, match="'first text 3' stands in test and train"):
        prepared(tmp_path, {"path": train, "split": "train"}, {"path": test, "split": "test"})


def test_two_labels_in_every_split_or_an_error(tmp_path: Path) -> None:
    positive = [[f"a{n}", f"b{n}", 1] for n in range(30)]
    with pytest.raises(FlipkdError, match="train has no negative pair"):
        prepared(tmp_path, {"path": write(tmp_path, positive)})
    with pytest.raises(FlipkdError, match="no pair is in dev, and thresholds are chosen on it"):
        prepared(tmp_path, {"path": write(tmp_path, good(30))}, splitting={"dev": 0})
    with pytest.raises(FlipkdError, match="holds no row"):
        prepared(tmp_path, {"path": write(tmp_path, [])})
    with pytest.raises(FlipkdError, match=r"no usable row is left \(rows.csv: 1 rows, .*missing_text 1"):
        prepared(tmp_path, {"path": write(tmp_path, [["", "", "1"]])}, max_rejected=1)


def test_ids_in_two_given_splits_need_splitting_by_text(tmp_path: Path) -> None:
    files = [
        {"kind": "utterances", "split": split,
         "path": write(tmp_path, [[f"{split} {i} {n}", f"id{i}"] for i in range(3) for n in range(4)],
                       f"{split}.csv", "text,id")}
        for split in ("train", "dev", "test")
    ]  # fmt: skip
    with pytest.raises(FlipkdError, match=r"the group 'id0' stands in dev and test and train(?s:.*)by: text"):
        prepared(tmp_path, *files)
    summary, _, _ = prepared(tmp_path, *files, splitting={"by": "text"})
    assert [split["pairs"] for split in summary["splits"].values()] == [36, 36, 36]


def test_ids_in_two_notations_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [[f"text {n} of {number}", number] for number in ("7", "7.0", "8.0", "9", "x.0") for n in range(9)]
    file = {"kind": "utterances", "path": write(tmp_path, rows, head="text,id")}
    prepared(tmp_path, file, splitting={"by": "text"})
    assert "1 ids stand as whole numbers and with a decimal point, '7' and '7.0' for one" in caplog.text
