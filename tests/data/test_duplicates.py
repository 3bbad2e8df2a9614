from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.duplicates import contradictions, resolve

D, C = "duplicate", "contradictory_label"


def reasons(rows: list[tuple[str, int | None]], policy: str) -> list[str | None]:
    frame = pl.DataFrame(rows, schema={"key": pl.String, "label": pl.Int8}, orient="row")
    found = resolve(frame, key="key", verdict="label", policy=policy)
    assert found.drop("reason").equals(frame)
    return found["reason"].to_list()


ROWS = [("x", 1), ("x", 1), ("y", 0), ("y", 1), ("y", 1), ("z", 0), ("z", 1), ("u", None), ("u", None),
        ("x", None), ("y", None), ("z", None)]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("reject", [None, D, C, C, C, C, C, None, D, D, C, C]),
        ("majority", [None, D, C, None, D, C, C, None, D, D, D, C]),
        ("keep", [None, D, None, None, D, None, None, None, D, D, D, D]),
    ],
)
def test_policies(policy: str, expected: list[str | None]) -> None:
    assert reasons(ROWS, policy) == expected


def test_unknown_policy() -> None:
    with pytest.raises(ValueError, match="no policy"):
        reasons(ROWS, "ignore")


def slow(rows: list[tuple[str, int | None]], policy: str) -> list[str | None]:
    """The same by hand, row by row."""
    seen: set[tuple[str, int | None]] = set()
    found: list[str | None] = []
    for key, label in rows:
        said = Counter(v for k, v in rows if k == key and v is not None)
        ranked = said.most_common()
        tie = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
        lost = len(ranked) > 1 and (
            policy == "reject" or (policy == "majority" and (tie or label not in (None, ranked[0][0])))
        )
        repeated = (key, label) in seen or (label is None and bool(said))
        seen.add((key, label))
        found.append(C if lost else D if repeated else None)
    return found


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, None])), max_size=12),
    st.sampled_from(["reject", "majority", "keep"]),
)
def test_against_a_row_by_row_computation(rows: list[tuple[str, int | None]], policy: str) -> None:
    assert reasons(rows, policy) == slow(rows, policy)


def test_contradictions_are_counted_by_key_whatever_the_policy() -> None:
    rows = [("a", 1), ("a", 0), ("a", 0), ("b", 1), ("b", 1), ("c", None), ("c", 0), ("d", None)]
    frame = pl.DataFrame(rows, schema={"key": pl.String, "label": pl.Int8}, orient="row")
    assert contradictions(frame, key="key", verdict="label") == 1
    assert contradictions(frame.clear(), key="key", verdict="label") == 0
