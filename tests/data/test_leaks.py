from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data import leaks as module
from data.leaks import leaks
from data.schema import PAIRS, write_table


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    whole = [
        {"pair_id": str(n), "text_a": f"a {n}", "text_b": f"b {n}", "label": 1, "split": "train", "group": None,
         "source": "rows.csv", "source_row": n} | row
        for n, row in enumerate(rows, 1)
    ]  # fmt: skip
    write_table(pa.Table.from_pylist(whole, schema=PAIRS), folder / "pairs.parquet", PAIRS)
    return folder / "pairs.parquet"


def test_nothing_leaks(tmp_path: Path) -> None:
    assert leaks(written(tmp_path)) == []
    assert leaks(written(tmp_path, {}, {"split": "dev"}, {"split": "test"}, {"text_a": "a 1"})) == []
    # A text of the name of a group is another thing, and no group is none that they share.
    assert leaks(written(tmp_path, {"group": "b 2"}, {"split": "dev"}, {"split": "test"})) == []


@pytest.mark.parametrize("other", ["a 1", " A\t1", "ａ １", "\u202aa 1\u202c", "a\u00a01"])
@pytest.mark.parametrize("column", ["text_a", "text_b"])
def test_a_text_in_two_splits_whatever_its_spelling_and_side(tmp_path: Path, other: str, column: str) -> None:
    found = leaks(written(tmp_path, {}, {}, {"split": "test", column: other}))
    assert found == [
        f"the text 'a 1' stands in train (rows.csv row 1, text_a) and test (rows.csv row 3, {column})"
    ]


def test_a_group_in_three_splits(tmp_path: Path) -> None:
    rows = [{"split": split, "group": group} for split, group in (("train", "G"), ("dev", "g "), ("test", " g"))]
    assert leaks(written(tmp_path, *rows)) == [
        "the group 'G' stands in train (rows.csv row 1, group) and dev (rows.csv row 2, group) and test "
        "(rows.csv row 3, group)"
    ]


def test_many_leaks_over_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_ROWS", 7)
    rows = [{"text_a": f"shared {n % 50}", "split": "train" if n < 50 else "test"} for n in range(100)]
    found = leaks(written(tmp_path, *rows), examples=4)
    assert len(found) == 4
    assert all("train (rows.csv row" in line and "test (rows.csv row" in line for line in found)


def test_entries_of_a_catalogue_may_stand_in_every_split(tmp_path: Path) -> None:
    rows = ({"text_b": "title"}, {"text_b": "Title", "split": "test"}, {"text_a": "title", "split": "dev"})
    found = leaks(written(tmp_path, *rows), entries={"rows.csv": "text_b"})
    assert found == []  # as a query it stands in one split
    assert len(leaks(written(tmp_path, *rows), entries={"another.csv": "text_b"})) == 1
    assert len(leaks(written(tmp_path, *rows, {"text_a": "title"}), entries={"rows.csv": "text_b"})) == 1
