"""Splits without leaks: what is linked stays together.

Rows that share a text (after folding) or a group are linked, and so are rows linked through others. Each such
component goes into one split as a whole, so that no text and no group stands in two. Which split that is follows
from the seed and the texts; the order of the rows does not matter.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data.errors import FlipkdError
from data.texts import stable_hash, stable_seed

_EXAMPLES = 3


def assign_splits(rows: pl.DataFrame, *, dev: float, test: float, seed: int) -> pl.Series:
    """The split of each row: the given one, or one by shares.

    Components without a stratum are dealt out largest first, each to the split that it fills least, so that
    the splits' rows come close to their shares; one that is larger than a split goes to the larger split.
    Components of a stratum (all texts of one id, say) are spread over the splits by systematic sampling:
    each split gets its share of the stratum, rounded up or down at random, so that shares hold over all strata.

    Args:
        rows: `key_a`, `text_a`; and, all of them nullable, `key_b`, `text_b`, `group`, `split` (given), `stratum`.
            Keys and groups link rows, texts are for messages.
        dev, test: shares of the rows that have no split given, 0 to 1; the rest is train.
        seed: of the assignment.

    Returns:
        `train`, `dev` or `test` for each row, in order. A row linked to a given split gets that one.

    Raises:
        FlipkdError: two given splits share a text or a group, at once or through other rows.
    """
    check_given(rows)
    nodes = _nodes(rows)
    component = linked(rows)
    hashes = nodes.select(pl.col("node").unique())
    hashes = hashes.with_columns(pl.Series("hash", [stable_hash(seed, n) for n in hashes["node"]], pl.String))
    names = nodes.join(hashes, on="node").join(
        pl.DataFrame({"row": np.arange(rows.height), "component": component}), on="row"
    )
    units = (
        rows.select("split", "stratum", pl.Series("component", component))
        .group_by("component")
        .agg(pl.len().alias("size"), pl.col("split").drop_nulls().first(), pl.col("stratum").min())
        .join(names.group_by("component").agg(pl.col("hash").min()), on="component")
        .sort("hash")
    )
    shares = {"train": 1 - dev - test, "dev": dev, "test": test}
    free = units.filter(pl.col("split").is_null())
    found = dict(units.filter(pl.col("split").is_not_null()).select("component", "split").iter_rows())
    found |= _deal(free.filter(pl.col("stratum").is_null()), shares)
    for (stratum,), part in free.drop_nulls("stratum").group_by("stratum", maintain_order=True):
        found |= _spread(part, shares, stable_seed(seed, "stratum", str(stratum)) / 2**80)
    return pl.Series("split", [found[c] for c in component.tolist()], pl.String)


def linked(rows: pl.DataFrame) -> np.ndarray:
    """Number of the component of each row, shape (rows,)."""
    nodes = _nodes(rows)
    codes = nodes.select(pl.col("node").rank("dense") - 1).to_series().to_numpy()
    count = rows.height + (int(codes.max()) + 1 if len(codes) else 0)
    edges = coo_array(
        (np.ones(len(codes), np.int8), (nodes["row"].to_numpy(), codes + rows.height)), (count, count)
    )
    return connected_components(edges, directed=False)[1][: rows.height]


def check_given(rows: pl.DataFrame) -> None:
    """Check that given splits share no text and no group.

    Raises:
        FlipkdError: they do; it names examples.
    """
    if rows["split"].null_count() == rows.height:
        return
    component = linked(rows)
    given = rows.select("split", pl.Series("component", component)).with_row_index("row").drop_nulls("split")
    torn = given.group_by("component").agg(pl.col("split").unique()).filter(pl.col("split").list.len() > 1)
    if torn.is_empty():
        return
    shared = (
        _nodes(rows)
        .join(given.select(pl.col("row").cast(pl.Int64), "split"), on="row")
        .group_by("node")
        .agg(pl.col("split").unique().sort(), pl.col("row").min(), pl.col("shown").first())
        .filter(pl.col("split").list.len() > 1)
        .sort("row")
    )
    if shared.is_empty():
        row = rows.filter(pl.Series(np.isin(component, torn["component"].to_numpy())) & pl.col("split").is_null())
        raise FlipkdError(
            f"prepare: {torn.height} chains of rows without a split link two given splits, one at "
            f"{str(row['text_a'][0])!r}: give those rows a split, or give none to any row"
        )
    lines = [
        f"the {'text' if node.startswith('t') else 'group'} {shown!r} stands in {' and '.join(splits)}"
        for node, splits, _, shown in shared.head(_EXAMPLES).iter_rows()
    ]
    raise FlipkdError(
        f"prepare: the given splits leak, {shared.height} texts or groups stand in more than one: "
        f"{'; '.join(lines)}. Take them out of one side, or give no split and let prepare make it. (Ids of "
        "utterances that should stand in all splits: `prepare.splitting.by: text`.)"
    )


def _nodes(rows: pl.DataFrame) -> pl.DataFrame:
    """What links rows, one line each: `row`, `node` (a text's key or a group), `shown` (for messages)."""
    numbered = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "key_a", "key_b", "group", "text_a", "text_b"
    )
    parts = [
        numbered.select("row", ("t" + pl.col("key_a")).alias("node"), pl.col("text_a").alias("shown")),
        numbered.select("row", ("t" + pl.col("key_b")).alias("node"), pl.col("text_b").alias("shown")),
        numbered.select("row", ("g" + pl.col("group")).alias("node"), pl.col("group").alias("shown")),
    ]
    return pl.concat(parts).drop_nulls("node")


def _deal(units: pl.DataFrame, shares: dict[str, float]) -> dict[int, str]:
    """Components to splits, largest first, each to the split that is then filled least relative to its share."""
    total = int(units["size"].sum())
    targets = {name: share * total for name, share in shares.items() if share > 0}
    filled = dict.fromkeys(targets, 0)
    found = {}
    for component, size in (
        units.sort("size", "hash", descending=[True, False]).select("component", "size").iter_rows()
    ):
        name = min(targets, key=lambda n: (filled[n] + size) / targets[n])
        filled[name] += size
        found[component] = name
    return found


def _spread(units: pl.DataFrame, shares: dict[str, float], offset: float) -> dict[int, str]:
    """Components of one stratum to splits: the k-th of n, in hash order, by the quantile (k + offset) / n."""
    quantiles = (np.arange(units.height) + offset) / units.height
    bounds = np.cumsum([shares["train"], shares["dev"]])
    names = np.array(["train", "dev", "test"])[np.searchsorted(bounds, quantiles, side="right")]
    return dict(zip(units["component"].to_list(), names.tolist(), strict=True))
