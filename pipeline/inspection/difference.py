"""Two nights or two teachers: which pairs came, went, changed sides, and how far the scores moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

OLD = "_before"
CHANGES = ("came", "went", "split", "label", "decision", "score", "same")


def difference(before: pl.LazyFrame, after: pl.LazyFrame) -> pl.DataFrame:
    """What became of each pair.

    Args:
        before, after: rows of scores; of a pair that stands there twice the first counts.

    Returns:
        A row per pair: `pair_id`, both texts, `change` (the first of `CHANGES` that fits), `moved` (the score now
        minus the score before; null if it came or went), and `teacher_score`, `label`, `split` and `reason` (where
        both have it), now and with `_before`. The farthest moved first, then those that came or went.
    """
    import polars as pl

    shared = [name for name in ("teacher_score", "label", "split", "reason") if name in _names(before, after)]
    columns = ["pair_id", "text_a", "text_b", *shared]
    old, new = (
        part.select(columns).unique("pair_id", keep="first", maintain_order=True) for part in (before, after)
    )
    both = new.join(old, on="pair_id", how="full", suffix=OLD, coalesce=True)
    tests = {
        "came": pl.col(f"text_a{OLD}").is_null(),
        "went": pl.col("text_a").is_null(),
        "split": pl.col("split") != pl.col(f"split{OLD}"),
        "label": pl.col("label").ne_missing(pl.col(f"label{OLD}")),
        "decision": pl.col("reason") != pl.col(f"reason{OLD}") if "reason" in shared else pl.lit(False),
        "score": pl.col("teacher_score") != pl.col(f"teacher_score{OLD}"),
    }
    change = pl.coalesce(*(pl.when(test).then(pl.lit(name)) for name, test in tests.items()), pl.lit("same"))
    found = both.with_columns(
        change=change,
        moved=pl.col("teacher_score") - pl.col(f"teacher_score{OLD}"),
        text_a=pl.coalesce("text_a", f"text_a{OLD}"),
        text_b=pl.coalesce("text_b", f"text_b{OLD}"),
    )
    order = ["pair_id", "text_a", "text_b", "change", "moved", *(n + e for n in shared for e in ("", OLD))]
    return (
        found.select(order)
        .sort(pl.col("moved").abs(), "pair_id", descending=[True, False], nulls_last=True)
        .collect()
    )


def _names(before: pl.LazyFrame, after: pl.LazyFrame) -> set[str]:
    return set(before.collect_schema().names()) & set(after.collect_schema().names())


def changes_table(frame: pl.DataFrame) -> Table:
    """How many pairs changed in which way, and how far their scores moved."""
    import polars as pl
    from rich.table import Table

    table = Table(caption=f"of {frame.height} pairs; each counts once, where it fits first")
    for name in ("change", "pairs", "median move", "largest move"):
        table.add_column(name, justify="left" if name == "change" else "right")
    sizes = frame.group_by("change").agg(
        pl.len(), median=pl.col("moved").abs().median(), largest=pl.col("moved").abs().max()
    )
    for change in CHANGES:
        for _, count, *moves in sizes.filter(change=change).iter_rows():
            table.add_row(WORDS[change], str(count), *("" if m is None else f"{m:.3f}" for m in moves))
    return table


WORDS = {
    "came": "came", "went": "went", "split": "changed split", "label": "changed label",
    "decision": "kept or dropped otherwise", "score": "another score", "same": "the same",
}  # fmt: skip
