from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import FlipkdError
from data.splits import assign_splits, linked

SCHEMA = {
    "key_a": pl.String, "key_b": pl.String, "group": pl.String, "split": pl.String, "stratum": pl.String,
}  # fmt: skip


def rows_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame([{**dict.fromkeys(SCHEMA), **row} for row in rows], schema=SCHEMA)
    return frame.with_columns(pl.col("key_a").alias("text_a"), pl.col("key_b").alias("text_b"))


def splits(rows: list[dict[str, Any]], dev: float = 0.2, test: float = 0.2, seed: int = 1) -> list[str]:
    return assign_splits(rows_of(rows), dev=dev, test=test, seed=seed).to_list()


node = st.sampled_from([f"t{n}" for n in range(30)])
pair_row = st.fixed_dictionaries(
    {"key_a": node, "key_b": node, "group": st.none() | st.sampled_from([f"t{n}" for n in range(8)])}
)


@settings(deadline=None)
@given(st.lists(pair_row, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_no_text_and_no_group_in_two_splits_whatever_the_order(rows: list[dict[str, Any]], random: Any) -> None:
    found = splits(rows)
    where = defaultdict(set)
    for row, split in zip(rows, found, strict=True):
        for name in ("key_a", "key_b"):
            where["text", row[name]].add(split)
        if row["group"]:
            where["group", row["group"]].add(split)
    assert all(len(held) == 1 for held in where.values())
    order = list(range(len(rows)))
    random.shuffle(order)
    assert splits([rows[i] for i in order]) == [found[i] for i in order]


def test_a_group_and_a_text_of_the_same_name_are_not_linked() -> None:
    assert len(set(linked(rows_of([{"key_a": "x"}, {"key_a": "y", "group": "x"}])).tolist())) == 2


def test_chains_are_linked() -> None:
    rows = [{"key_a": "a", "key_b": "b"}, {"key_a": "c", "key_b": "b"}, {"key_a": "d", "group": "g"},
            {"key_a": "c", "group": "g"}, {"key_a": "e"}]  # fmt: skip
    found = linked(rows_of(rows)).tolist()
    assert len(set(found[:4])) == 1
    assert found[4] != found[0]


def test_shares_are_met() -> None:
    rows = [{"key_a": f"a{n}", "key_b": f"b{n}", "group": f"g{n // 2}"} for n in range(1000)]
    found = splits(rows, dev=0.15, test=0.2)
    assert (found.count("train"), found.count("dev"), found.count("test")) == (650, 150, 200)
    assert found != splits(rows, dev=0.15, test=0.2, seed=2)


def test_a_giant_component_goes_to_train_and_the_rest_fills_the_others() -> None:
    rows = [{"key_a": "hub", "key_b": f"b{n}"} for n in range(60)] + [{"key_a": f"x{n}"} for n in range(40)]
    found = splits(rows)
    assert set(found[:60]) == {"train"}
    assert (found.count("dev"), found.count("test")) == (20, 20)


def test_no_share_no_row() -> None:
    assert set(splits([{"key_a": f"a{n}"} for n in range(50)], dev=0, test=0)) == {"train"}
    assert "test" not in splits([{"key_a": f"a{n}", "stratum": "s"} for n in range(50)], dev=0.3, test=0)


def test_strata_are_spread_by_shares() -> None:
    rows = [{"key_a": f"{s}-{n}", "stratum": f"s{s}"} for s in range(100) for n in range(11)]
    found = splits(rows, dev=0.15, test=0.2)
    for s in range(100):
        own = found[s * 11 : s * 11 + 11]
        assert own.count("train") in (7, 8)
        assert own.count("dev") in (1, 2)
        assert own.count("test") in (2, 3)
    # Rounding up and down balances: 1,100 texts, 165 and 220 of them expected.
    assert abs(found.count("dev") - 165) < 20
    assert abs(found.count("test") - 220) < 20


def test_given_splits_stay_and_pull_linked_rows_along() -> None:
    rows = [{"key_a": "a", "split": "test"}, {"key_a": "b", "key_b": "a"}, {"key_a": "c", "split": "train"}]
    assert splits(rows) == ["test", "test", "train"]


def test_given_splits_that_leak_are_an_error_with_examples() -> None:
    rows = [{"key_a": "a", "split": "test"}, {"key_a": "b", "key_b": "a", "split": "train"}]
    with pytest.raises(FlipkdError, match="the text 'a' stands in test and train"):
        splits(rows)
    rows = [{"key_a": "a", "group": "g", "split": "test"}, {"key_a": "b", "group": "g", "split": "train"}]
    with pytest.raises(FlipkdError, match="the group 'g' stands in test and train"):
        splits(rows)


def test_a_row_without_split_that_links_two_given_ones() -> None:
    rows = [{"key_a": "a", "split": "test"}, {"key_a": "b", "split": "train"}, {"key_a": "a", "key_b": "b"}]
    with pytest.raises(FlipkdError, match="link two given splits, one at 'a'"):
        splits(rows)
