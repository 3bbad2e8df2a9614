"""Splits without leaks: what is linked stays together.

Rows that share a text or a group (after folding) are linked, and so are rows linked through others. Each such
component goes into one split as a whole, so that no text and no group stands in two. Which split that is follows
from the seed and the texts; the order of the rows does not matter.

Texts and groups enter as 64-bit hashes, so that ten million rows fit into memory. Should two that differ meet in
one hash, their rows share a split without need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data.collect import SPLITS
from data.texts import fold, stable_number, stable_seed

LINKS: dict[str, pl.DataType] = {
    "key_a": pl.UInt64(), "key_b": pl.UInt64(), "group": pl.UInt64(), "order": pl.UInt64(),
}  # fmt: skip
SPLIT = pl.Enum(SPLITS)
_LINK_NAMES = ("key_a", "key_b", "group")


def link_columns(
    key_a: Sequence[str],
    key_b: Sequence[str | None],
    group: Sequence[str | None],
    seed: int,
    entries: str | None = None,
) -> pl.DataFrame:
    """What links rows, as hashes.

    Args:
        key_a, key_b: `data.texts.text_key` of each row's texts; None where there is no second text.
        group: each row's group, or None.
        seed: of the order in which components are dealt out.
        entries: `key_a` or `key_b` if that side holds the entries of a catalogue, which decide no split.

    Returns:
        The columns `LINKS`: `key_a`, `key_b`, `group` are equal where the texts or the folded groups are; `order`
        is a number at random.
    """
    orders: dict[str, int] = {}
    groups: dict[str, int] = {}
    columns: list[list[int | None]] = [[], [], [], []]
    nothing: list[str | None] = [None] * len(key_a)
    first, second = (key_b, nothing) if entries == "key_a" else (key_a, nothing if entries else key_b)
    for a, b, name, text, other in zip(key_a, key_b, group, first, second, strict=True):
        order = stable_number(seed, f"t{text}")
        if other is not None:
            order = min(order, stable_number(seed, f"t{other}"))
        if name is not None:
            if name not in groups:
                groups[name] = stable_number("g" + fold(name))
                orders[name] = stable_number(seed, "g" + name)
            order = min(order, orders[name])
        found = (
            link_of(a),
            None if b is None else link_of(b),
            None if name is None else groups[name],
            order,
        )
        for column, value in zip(columns, found, strict=True):
            column.append(value)
    return pl.DataFrame(dict(zip(LINKS, columns, strict=True)), schema=LINKS)


def link_of(key: str) -> int:
    """A text's key as `link_columns` writes it: its first 64 bits."""
    return int(key[:16], 16)


def assign_splits(rows: pl.DataFrame, *, dev: float, test: float, seed: int) -> pl.Series:
    """The split of each row: the given one, or one by shares.

    Components without a stratum stand in the order of a hash of their own, which is cut into test, dev and train
    by their shares of the rows. So rows that come later move few of the earlier ones: those next to a cut.
    Components of a stratum (all texts of one id, say) are spread over the splits by systematic sampling:
    each split gets its share of the stratum, rounded up or down at random, so that shares hold over all strata.

    Args:
        rows: `LINKS`, `split` (given, nullable) and `stratum` (nullable). Of given splits that leak (see
            `given_leaks`) a component gets the latest: train comes before dev, dev before test.
        dev, test: shares of the rows that have no split given, 0 to 1; the rest is train.
        seed: of the assignment.

    Returns:
        `train`, `dev` or `test` for each row, in order. A row linked to a given split gets that one.
    """
    component = linked(rows)
    units = (
        rows.select("order", pl.col("split").cast(SPLIT), "stratum", pl.Series("component", component, pl.Int32))
        .group_by("component")
        .agg(
            pl.len().alias("size"),
            pl.col("split").max(),
            pl.col("stratum").min(),
            pl.col("order").min(),
        )
        .sort("order", "component")
    )
    shares = {"train": 1 - dev - test, "dev": dev, "test": test}
    found = np.zeros(units.height, np.int8)
    numbered = units.select(pl.int_range(pl.len()).alias("unit"), "size", "split", "stratum")
    given = numbered.drop_nulls("split")
    found[given["unit"].to_numpy()] = given["split"].to_physical().to_numpy()
    free = numbered.filter(pl.col("split").is_null())
    dealt = free.filter(pl.col("stratum").is_null())
    found[dealt["unit"].to_numpy()] = _cut(dealt["size"].to_numpy(), shares)
    for (stratum,), part in free.drop_nulls("stratum").group_by("stratum", maintain_order=True):
        offset = stable_seed(seed, "stratum", str(stratum)) / 2**80
        found[part["unit"].to_numpy()] = _spread(part.height, shares, offset)
    by_component = np.zeros(units.height, np.int8)
    by_component[units["component"].to_numpy()] = found
    return pl.Series("split", SPLITS, SPLIT).gather(by_component[component])


def linked(rows: pl.DataFrame) -> np.ndarray:
    """Number of the component of each row, shape (rows,)."""
    codes, owners, _ = _nodes(rows)
    order = np.argsort(codes, kind="stable")
    codes, owners = codes[order], owners[order]
    same = np.flatnonzero(codes[1:] == codes[:-1])
    first, second = owners[same], owners[same + 1]
    edges = coo_array((np.ones(len(first), np.int8), (first, second)), (rows.height, rows.height))
    return connected_components(edges, directed=False)[1]


@dataclass(frozen=True)
class Leak:
    """A text or group that stands in two given splits or more.

    Attributes:
        places: for each split that holds it, by name, the first row and the column (`key_a`, `key_b`, `group`).
    """

    places: dict[str, tuple[int, str]]


def given_leaks(rows: pl.DataFrame, examples: int) -> tuple[int, list[Leak]]:
    """How many texts and groups stand in two given splits, and some of them, first rows first.

    Args:
        rows: `LINKS` and `split`.
    """
    given = rows["split"].is_not_null().to_numpy()
    if not given.any():
        return 0, []
    splits = rows["split"].cast(SPLIT).to_physical().fill_null(255).to_numpy()
    codes, owners, columns = _nodes(rows)
    held = given[owners]
    codes, owners, columns = codes[held], owners[held], columns[held]
    order = np.argsort(codes, kind="stable")
    codes, owners, columns = codes[order], owners[order], columns[order]
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    low = np.minimum.reduceat(splits[owners], starts)
    high = np.maximum.reduceat(splits[owners], starts)
    shared = np.flatnonzero(low != high)
    ends = np.r_[starts[1:], len(codes)]
    first_rows = np.minimum.reduceat(owners, starts)[shared]
    leaks = []
    for run in shared[np.argsort(first_rows, kind="stable")][:examples]:
        here = slice(int(starts[run]), int(ends[run]))
        places: dict[str, tuple[int, str]] = {}
        for owner, column in sorted(zip(owners[here].tolist(), columns[here].tolist(), strict=True)):
            places.setdefault(SPLITS[int(splits[owner])], (owner, _LINK_NAMES[column]))
        leaks.append(Leak(dict(sorted(places.items()))))
    return len(shared), leaks


def leaking_rows(rows: pl.DataFrame) -> np.ndarray:
    """Rows with a given split whose text or group stands in a later given split too, (rows,), bool.

    Train comes before dev, dev before test: without these rows nothing that is measured was seen before.

    Args:
        rows: `LINKS` and `split`.
    """
    splits = rows["split"].cast(SPLIT).to_physical().cast(pl.Int8).fill_null(-1).to_numpy()
    codes, owners, _ = _nodes(rows)
    _, node = np.unique(codes, return_inverse=True)
    latest = np.full(len(rows), -1, np.int8)
    last = np.full(node.max(initial=-1) + 1, -1, np.int8)
    np.maximum.at(last, node, splits[owners])
    np.maximum.at(latest, owners, last[node])
    return (splits >= 0) & (latest > splits)


def torn_chains(rows: pl.DataFrame) -> tuple[int, int | None]:
    """How many components hold two given splits although none of their texts and groups does.

    That is so where rows without a split link the given ones.

    Returns:
        The number of components, and a row without a split in the first of them.
    """
    if rows["split"].null_count() == rows.height:
        return 0, None
    component = linked(rows)
    given = rows.select("split", pl.Series("component", component)).drop_nulls("split")
    torn = given.group_by("component").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)["component"]
    without = np.flatnonzero(np.isin(component, torn.to_numpy()) & rows["split"].is_null().to_numpy())
    return len(torn), int(without[0]) if len(without) else None


def _nodes(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every text and group of every row: its hash (uint64), its row, and which column it is (0, 1, 2)."""
    parts = []
    for number, name in enumerate(_LINK_NAMES):
        owners = np.flatnonzero(rows[name].is_not_null().to_numpy()).astype(np.int32)
        parts.append((rows[name].drop_nulls().to_numpy(), owners, np.full(len(owners), number, np.int8)))
    codes, owners, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    return codes, owners, columns


# With fewer components than this a cut would miss the shares by too much.
_FEW = 40


def _cut(sizes: np.ndarray, shares: dict[str, float]) -> np.ndarray:
    """The split of each component, in the order in which they are cut.

    A component that would fill half of dev or test by itself goes to train. If those leave too little, or if there
    are few components, they are dealt out one by one instead, largest first.
    """
    total, held_out = sizes.sum(), [share for name, share in shares.items() if name != "train" and share > 0]
    small = sizes <= min(held_out, default=0) * total / 2
    if len(sizes) < _FEW or sizes[small].sum() < sum(held_out) * total:
        by_size = np.argsort(-sizes, kind="stable")
        found = np.empty(len(sizes), np.int8)
        found[by_size] = _deal(sizes[by_size].tolist(), shares)
        return found
    middle = sizes[small].cumsum() - sizes[small] / 2
    bounds = np.cumsum([shares["test"], shares["dev"]]) * total
    found = np.full(len(sizes), SPLITS.index("train"), np.int8)
    order = np.array([SPLITS.index(name) for name in ("test", "dev", "train")], np.int8)
    found[small] = order[np.searchsorted(bounds, middle, side="right")]
    return found


def _deal(sizes: Sequence[int], shares: dict[str, float]) -> list[int]:
    """Components to splits, in order, each to the split that is then filled least relative to its share."""
    total = sum(sizes)
    targets = [(SPLITS.index(name), share * total) for name, share in shares.items() if share > 0]
    filled = [0] * len(SPLITS)
    found = []
    for size in sizes:
        number = min(targets, key=lambda target: (filled[target[0]] + size) / target[1])[0]
        filled[number] += size
        found.append(number)
    return found


def _spread(count: int, shares: dict[str, float], offset: float) -> np.ndarray:
    """Components of one stratum to splits: the k-th of n, in hash order, by the quantile (k + offset) / n."""
    quantiles = (np.arange(count) + offset) / count
    bounds = np.cumsum([shares["train"], shares["dev"]])
    return np.searchsorted(bounds, quantiles, side="right")
