from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from data.splits import Leak, assign_splits, given_leaks, leaking_rows, link_columns, linked, torn_chains
from data.texts import text_key


def rows_of(rows: list[dict[str, Any]], seed: int = 1) -> pl.DataFrame:
    """Rows with short names for texts: they are hashed as texts are."""
    keys = [[row.get(name) for row in rows] for name in ("key_a", "key_b")]
    hashed = [[None if key is None else text_key(key) for key in column] for column in keys]
    links = link_columns([str(key) for key in hashed[0]], hashed[1], [row.get("group") for row in rows], seed)
    given = {name: [row.get(name) for row in rows] for name in ("split", "stratum")}
    return links.with_columns(pl.DataFrame(given, schema=dict.fromkeys(given, pl.String)))


def splits(rows: list[dict[str, Any]], dev: float = 0.2, test: float = 0.2, seed: int = 1) -> list[str]:
    return assign_splits(rows_of(rows, seed), dev=dev, test=test, seed=seed).to_list()


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


def test_groups_are_linked_whatever_their_case_and_white_space() -> None:
    rows = [{"key_a": "a", "group": "Card  Lost"}, {"key_a": "b", "group": "card lost "}, {"key_a": "c"}]
    found = linked(rows_of(rows)).tolist()
    assert found[0] == found[1] != found[2]


def test_given_splits_that_leak_with_rows_and_columns() -> None:
    rows = [{"key_a": "a", "split": "test"}, {"key_a": "b", "key_b": "a", "split": "train"}, {"key_a": "a"}]
    assert given_leaks(rows_of(rows), 3) == (1, [Leak({"test": (0, "key_a"), "train": (1, "key_b")})])
    rows = [{"key_a": "a", "group": "G", "split": "test"}, {"key_a": "b", "group": "g", "split": "train"}]
    assert given_leaks(rows_of(rows), 3) == (1, [Leak({"test": (0, "group"), "train": (1, "group")})])
    rows = [{"key_a": f"a{n % 7}", "split": ("dev", "test", "train")[n % 3]} for n in range(70)]
    count, found = given_leaks(rows_of(rows), 3)
    assert count == 7
    assert [leak.places for leak in found] == [
        {"dev": (n * 0 + a, "key_a"), "test": (b, "key_a"), "train": (c, "key_a")}
        for n, (a, b, c) in enumerate([(0, 7, 14), (15, 1, 8), (9, 16, 2)])
    ]


def test_given_splits_without_a_leak() -> None:
    rows = [
        {"key_a": "a", "split": "test"},
        {"key_a": "b", "split": "train"},
        {"key_a": "x"},
        {"key_a": "a", "key_b": "x"},
    ]
    assert given_leaks(rows_of(rows), 3) == (0, [])
    assert torn_chains(rows_of(rows)) == (0, None)
    assert given_leaks(rows_of([{"key_a": "a"}, {"key_a": "a"}]), 3) == (0, [])


def test_a_row_without_split_that_links_two_given_ones() -> None:
    rows = [{"key_a": "a", "split": "test"}, {"key_a": "b", "split": "train"}, {"key_a": "a", "key_b": "b"}]
    assert given_leaks(rows_of(rows), 3) == (0, [])
    assert torn_chains(rows_of(rows)) == (1, 2)


def test_new_rows_move_few_of_the_old_ones_and_shares_hold() -> None:
    rows = [
        {"key_a": f"q{n}", "key_b": f"a{n}-{m}", "group": f"g{n}"} for n in range(2000) for m in range(n % 3 + 1)
    ]
    before = splits(rows[:3960], dev=0.15, test=0.2)
    after = splits(rows, dev=0.15, test=0.2)
    moved = sum(a != b for a, b in zip(before, after, strict=False))
    assert moved <= 0.02 * len(before)
    for split, share in {"test": 0.2, "dev": 0.15, "train": 0.65}.items():
        assert abs(after.count(split) / len(after) - share) < 0.005


def test_a_component_that_would_fill_a_split_is_trained_on() -> None:
    rows = [{"key_a": f"t{n}"} for n in range(200)] + [{"key_a": f"u{n}", "group": "big"} for n in range(60)]
    found = splits(rows)
    assert set(found[200:]) == {"train"}
    assert abs(found.count("test") / len(found) - 0.2) < 0.01
    assert abs(found.count("dev") / len(found) - 0.2) < 0.01


def test_rows_that_leak_into_a_later_split() -> None:
    rows = [
        {"key_a": "a", "key_b": "b", "split": "train"},  # a stands in test
        {"key_a": "c", "key_b": "a", "split": "test"},
        {"key_a": "d", "group": "g", "split": "train"},  # g stands in dev
        {"key_a": "e", "group": "G ", "split": "dev"},
        {"key_a": "f", "split": "train"},
        {"key_a": "c"},  # no split of its own
        {"key_a": "h", "key_b": "f", "split": "train"},
    ]
    assert leaking_rows(rows_of(rows)).tolist() == [True, False, True, False, False, False, False]
    assert not leaking_rows(rows_of([{"key_a": "a"}, {"key_a": "a"}])).any()


def test_an_entry_does_not_decide_where_its_queries_go() -> None:
    """Else all queries of the entry with the lowest number would stand side by side when the order is cut."""
    queries = [f"{n:016x}" for n in range(1, 9)]
    with_entry = link_columns(queries, ["f" * 16] * 8, [None] * 8, 1, entries="key_b")
    alone = link_columns(queries, [None] * 8, [None] * 8, 1)
    assert with_entry["order"].to_list() == alone["order"].to_list()
    assert with_entry["key_b"].n_unique() == 1
    turned = link_columns(["f" * 16] * 8, queries, [None] * 8, 1, entries="key_a")
    assert turned["order"].to_list() == alone["order"].to_list()
