"""What became of each pair between two nights."""

from __future__ import annotations

import polars as pl

from pipeline.inspection.difference import changes_table, difference
from tests.terminal import shown


def night(**rows: tuple[float, int | None, str, str]) -> pl.LazyFrame:
    return pl.DataFrame(
        [(name, f"{name} a", f"{name} b", *row) for name, row in rows.items()],
        schema={"pair_id": pl.String, "text_a": pl.String, "text_b": pl.String, "teacher_score": pl.Float32,
                "label": pl.Int8, "split": pl.String, "reason": pl.String},
        orient="row",
    ).lazy()  # fmt: skip


BEFORE = night(
    same=(0.5, 1, "train", "kept"), went=(0.1, 0, "train", "kept"), moved=(0.5, None, "dev", "uncertain"),
    split=(0.5, 1, "train", "kept"), label=(0.5, 0, "train", "kept"), decision=(0.5, 1, "train", "kept"),
    nothing=(0.5, None, "train", "uncertain"),
)  # fmt: skip
AFTER = night(
    same=(0.5, 1, "train", "kept"), came=(0.9, 0, "train", "kept"), moved=(0.25, None, "dev", "uncertain"),
    split=(0.75, 1, "test", "kept"), label=(0.5, 1, "train", "kept"),
    decision=(0.375, 1, "train", "positive_below_bound"), nothing=(0.5, None, "train", "uncertain"),
)  # fmt: skip


def test_each_pair_has_its_change() -> None:
    found = difference(BEFORE, AFTER)
    rows = {row["pair_id"]: row for row in found.to_dicts()}
    assert {name: row["change"] for name, row in rows.items()} == {
        "same": "same", "went": "went", "came": "came", "moved": "score", "split": "split", "label": "label",
        "decision": "decision", "nothing": "same",
    }  # fmt: skip
    assert rows["moved"]["moved"] == -0.25
    assert rows["went"]["text_a"] == "went a"
    assert (rows["split"]["split_before"], rows["split"]["split"]) == ("train", "test")
    assert found["pair_id"].to_list()[:3] == ["moved", "split", "decision"]
    assert found["moved"].null_count() == 2


def test_scores_without_a_filter_and_the_table() -> None:
    found = difference(BEFORE.drop("reason"), AFTER)
    assert found.filter(pair_id="decision")["change"].item() == "score"
    text = shown(changes_table(difference(BEFORE, AFTER)), 80)
    assert [line.split("│")[1].strip() for line in text.splitlines() if "│" in line] == [
        "came", "went", "changed split", "changed label", "kept or dropped otherwise", "another score", "the same",
    ]  # fmt: skip
