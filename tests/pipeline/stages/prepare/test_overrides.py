"""Verdicts of people over the labels of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data.errors import FlipkdError
from data.texts import pair_id
from tests.pipeline.stages.prepare.test_run import good, prepared, write


def review(folder: Path, rows: list[tuple[str, str]], name: str = "review.csv") -> str:
    pd.DataFrame(rows, columns=["pair_id", "verdict"]).to_csv(folder / name, index=False, encoding="utf-8-sig")
    return str(folder / name)


def id_of(number: int) -> str:
    return pair_id(f"first text {number}", f"second text {number}")


def test_labels_and_drops(tmp_path: Path) -> None:
    path = write(tmp_path, good(60))
    said = [
        (id_of(0), "match"),
        (id_of(1), "1"),
        (id_of(2), "drop"),
        (id_of(3), "No match"),
        (id_of(4), ""),
        ("x", "1"),
    ]
    _, plain, _ = prepared(tmp_path, {"path": path})
    summary, pairs, rejects = prepared(tmp_path, {"path": path}, overrides=review(tmp_path, said))
    assert summary["overrides"] == {"relabelled": 2, "confirmed": 1, "dropped": 1, "unknown": 1}
    labels, before = (frame.set_index("pair_id")["label"] for frame in (pairs, plain))
    assert (labels[id_of(0)], labels[id_of(1)], labels[id_of(3)]) == (1, 1, 0)
    assert (before[id_of(0)], before[id_of(1)], before[id_of(3)]) == (0, 1, 1)
    assert rejects[["source_row", "reason"]].values.tolist() == [[3, "dropped_by_verdict"]]
    others = [key for key in labels.index if key not in {id_of(n) for n in (0, 1, 3)}]
    assert labels[others].equals(before[others])
    counted = pairs.groupby("split")["label"].sum()
    assert {split: counts["positive"] for split, counts in summary["splits"].items()} == counted.to_dict()


def test_a_verdict_settles_a_contradiction(tmp_path: Path) -> None:
    rows = [*good(60), ["first text 0", "second text 0", 1]]
    path = write(tmp_path, rows)
    _, pairs, rejects = prepared(tmp_path, {"path": path})
    assert id_of(0) not in set(pairs["pair_id"])
    assert set(rejects["reason"]) == {"contradictory_label"}
    _, pairs, rejects = prepared(tmp_path, {"path": path}, overrides=review(tmp_path, [(id_of(0), "match")]))
    assert pairs.set_index("pair_id")["label"][id_of(0)] == 1
    assert rejects["reason"].tolist() == ["duplicate"]


def test_pairs_that_were_built_have_verdicts_too(tmp_path: Path) -> None:
    rows = [[f"word{n} thing{n} number {k}", f"id{n}"] for n in range(12) for k in range(4)]
    path = write(tmp_path, rows, head="text,id")
    file = {"kind": "utterances", "path": path}
    _, pairs, _ = prepared(tmp_path, file)
    turned, gone = pairs[pairs["label"] == 1]["pair_id"].tolist()[:2]
    said = [(turned, "no match"), (gone, "drop")]
    summary, found, _ = prepared(tmp_path, file, overrides=review(tmp_path, said))
    assert summary["overrides"] == {"relabelled": 1, "confirmed": 0, "dropped": 1, "unknown": 0}
    assert set(pairs["pair_id"]) - set(found["pair_id"]) == {gone}
    assert found.set_index("pair_id")["label"][turned] == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [("a", "match"), ("b", "perhaps")],
            "review.csv row 2: verdict is 'perhaps'; write match, no match or drop",
        ),
        ([("a", "match"), ("a", "drop")], "row 2: the pair a is called 'drop' here and 'match' before"),
    ],
)
def test_bad_verdicts_are_named_by_their_row(tmp_path: Path, rows: list[Any], said: str) -> None:
    path = write(tmp_path, good(60))
    with pytest.raises(FlipkdError, match=r"prepare\.overrides") as caught:
        prepared(tmp_path, {"path": path}, overrides=review(tmp_path, rows))
    assert said in str(caught.value)


def test_a_file_without_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, good(60))
    with pytest.raises(FlipkdError, match=r"prepare.overrides: .*pair_id"):
        prepared(tmp_path, {"path": path}, overrides=path)


def test_numbers_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    path = write(tmp_path, good(60))
    frame = pd.DataFrame({"pair_id": [id_of(0), id_of(1), id_of(2)], "verdict": [1.0, None, 0.0]})
    frame.to_parquet(tmp_path / "review.parquet")
    summary, _, _ = prepared(tmp_path, {"path": path}, overrides=str(tmp_path / "review.parquet"))
    assert summary["overrides"] == {"relabelled": 1, "confirmed": 1, "dropped": 0, "unknown": 0}
