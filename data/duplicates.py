"""Rows that say the same thing twice, and rows that contradict each other."""

from __future__ import annotations

import polars as pl


def resolve(frame: pl.DataFrame, *, key: str, verdict: str, policy: str) -> pl.DataFrame:
    """Decide which rows of one key stay: one row for each key, unless rows of a key contradict each other.

    Rows are taken in the frame's order, the first of equal ones stays. A row without a verdict (unlabelled)
    contradicts nothing: it goes with its key's contradictory rows if none of them stays, else it is a duplicate
    of one that does.

    Args:
        frame: any columns, among them `key` (what makes rows the same) and `verdict` (what they say about it).
        policy: for keys with two or more verdicts. `reject`: all their rows go. `majority`: the verdict with most
            rows stays, a tie sends all away. `keep`: one row of each verdict stays.

    Returns:
        The frame with a column `reason`: null for rows that stay, else `duplicate` or `contradictory_label`.

    Raises:
        ValueError: no such policy.
    """
    if frame[key].n_unique() == frame.height:  # the usual case, and much the cheapest
        _check_policy(policy)
        return frame.with_columns(pl.lit(None, pl.String).alias("reason"))
    numbered = frame.select(key, verdict).with_row_index("_place")
    repeated = numbered.filter(pl.col(key).is_duplicated())
    decided = _decide(repeated, key, verdict, policy)
    reasons = numbered.select("_place").join(decided, on="_place", how="left", maintain_order="left")["reason"]
    return frame.with_columns(reasons)


def contradictions(frame: pl.DataFrame, *, key: str, verdict: str) -> int:
    """How many keys stand with two verdicts or more; a row without a verdict contradicts nothing."""
    said = frame.select(key, verdict).drop_nulls(verdict)
    said = said.filter(pl.col(key).is_duplicated())
    return said.group_by(key).agg(pl.col(verdict).n_unique()).filter(pl.col(verdict) > 1).height


def _check_policy(policy: str) -> None:
    if policy not in {"reject", "majority", "keep"}:
        raise ValueError(f"no policy for contradictions is called {policy!r}")


def _decide(frame: pl.DataFrame, key: str, verdict: str, policy: str) -> pl.DataFrame:
    """`_place` and `reason` of rows whose keys stand more than once."""
    _check_policy(policy)
    said = pl.col(verdict)
    counts = frame.drop_nulls(verdict).group_by(key, verdict).agg(pl.len().alias("_rows"))
    most = counts.filter(pl.col("_rows") == pl.col("_rows").max().over(key))
    winners = most.filter(pl.len().over(key) == 1).select(key, said.alias("_winner"))
    verdicts = counts.group_by(key).agg(pl.len().alias("_verdicts"))
    rows = frame
    for more in (verdicts, winners):
        rows = rows.join(more, on=key, how="left", maintain_order="left")

    contradictory = (pl.col("_verdicts") > 1).fill_null(False)
    if policy == "reject":
        loses = contradictory
    elif policy == "majority":
        loses = contradictory & (pl.col("_winner").is_null() | (said != pl.col("_winner")).fill_null(False))
    else:
        loses = pl.lit(False)
    repeats = pl.col("_place") != pl.col("_place").min().over(key, verdict)
    needless = said.is_null() & pl.col("_verdicts").is_not_null()
    reason = pl.when(loses).then(pl.lit("contradictory_label")).when(repeats | needless).then(pl.lit("duplicate"))
    return rows.select("_place", reason.alias("reason"))
