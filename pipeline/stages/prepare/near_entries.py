"""Hard negatives of a retrieval set or catalogue: entries that lie near a query, and that nobody judged.

Not all that answers a query was judged, so what lies nearest may match. An entry is taken only if its cosine to
the query stays below the best matching entry's by a margin (as `relative_margin` of sentence-transformers'
`mine_hard_negatives`, which knows one match a query and no judged non-matches); a share of the negatives comes
from any entry of the set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

from data.arrays import greatest
from data.splits import link_of
from data.texts import pair_id_of_keys, stable_seed, text_key
from pipeline.stages.prepare.collection import Collection
from pipeline.stages.prepare.config import PairBuilding
from pipeline.stages.prepare.expand import files_of
from pipeline.stages.prepare.inputs import source_name
from pipeline.stages.prepare.rows import Gathered

log = logging.getLogger("flipkd.prepare")
Encoder = Callable[[Sequence[str]], np.ndarray]
# A built pair: the columns of pairs.parquet, its file, and what is counted of it, as hashes.
BUILT: dict[str, pl.DataType] = {
    "pair_id": pl.String(), "text_a": pl.String(), "text_b": pl.String(), "label": pl.Int8(), "split": pl.String(),
    "group": pl.String(), "source": pl.String(), "source_row": pl.Int64(), "file": pl.Int32(),
    "key_a": pl.UInt64(), "key_b": pl.UInt64(), "group_code": pl.UInt64(),
}  # fmt: skip
_TRIES = 20  # per random negative


def near_negatives(
    gathered: Gathered, pairs: pl.DataFrame, encoder: Encoder, unseen: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Pairs of queries with entries that are taken not to match, for all retrieval sets.

    A query gets `prepare.pairs.negatives_per_positive` of them for each of its matches, less its judged
    non-matches.

    Args:
        pairs: the judged pairs that are taken, with their splits. encoder: texts to unit vectors, (n, d).
        unseen: pairs (`file`, `source_row`) whose entries are held out: train must not see them.

    Returns:
        The columns of `BUILT`.
    """
    files = files_of(gathered.config)
    parts = [pl.DataFrame(schema=BUILT)]
    for collection in gathered.collections.values():
        judged = collection.judgements()
        hidden = judged.join(unseen, on=["file", "source_row"], how="semi")["entry_id"]
        known = pairs.select("file", "source_row", "label", "split", "key_a", "group")
        judged = judged.join(known, on=["file", "source_row"], how="left", maintain_order="left")
        chosen = _near(judged, collection, gathered.config.pairs, encoder, set(hidden), seed)
        parts.append(_as_built(chosen, judged, collection, [source_name(file) for file in files]))
    return pl.concat(parts).unique("pair_id", keep="first", maintain_order=True)


def _as_built(
    chosen: pl.DataFrame, judged: pl.DataFrame, collection: Collection, sources: Sequence[str]
) -> pl.DataFrame:
    """Chosen pairs with all columns; source and row are those of the query's first judgement."""
    first = judged.filter(pl.col("split").is_not_null()).unique("query_id", keep="first", maintain_order=True)
    rows = chosen.join(first.drop("entry_id", "label"), on="query_id", how="left", maintain_order="left")
    texts = [(collection.queries[query], collection.entries[entry]) for query, entry in chosen.iter_rows()]
    keys = [(text_key(a), text_key(b)) for a, b in texts]
    return rows.select(
        pl.Series("pair_id", [pair_id_of_keys(*both) for both in keys], pl.String),
        pl.Series("text_a", [a for a, _ in texts], pl.String),
        pl.Series("text_b", [b for _, b in texts], pl.String),
        pl.lit(0, pl.Int8).alias("label"),
        pl.col("split").cast(pl.String),
        pl.Series("group", [collection.groups.get(query) for query in chosen["query_id"]], pl.String),
        pl.Series(sources, dtype=pl.String).gather(rows["file"]).alias("source"),
        "source_row",
        "file",
        "key_a",
        pl.Series("key_b", [link_of(b) for _, b in keys], pl.UInt64),
        pl.col("group").alias("group_code"),
    ).select(*BUILT)


def _near(
    judged: pl.DataFrame,
    collection: Collection,
    building: PairBuilding,
    encoder: Encoder,
    held_out: set[str],
    seed: int,
) -> pl.DataFrame:
    """The negatives of one set, `query_id` and `entry_id`.

    Args:
        judged: all its judgements: `query_id`, `entry_id`, `label`, `split`, the last two null for those that
            were rejected.
        held_out: ids of entries that train must not see.
    """
    settings = collection.negatives
    wanted = _wanted(judged, building.negatives_per_positive)
    found: list[tuple[str, str]] = []
    if wanted:
        ids = list(collection.entries)
        place = {entry: n for n, entry in enumerate(ids)}
        keys = [text_key(text) for text in collection.entries.values()]
        hidden = {keys[place[entry]] for entry in held_out}
        vectors = encoder(list(collection.entries.values()))
        of_queries = encoder([collection.queries[query] for query in wanted])
        known = dict(judged.group_by("query_id").agg("entry_id").iter_rows())
        matches = judged.filter(pl.col("label") == 1)
        right = dict(matches.group_by("query_id").agg("entry_id").iter_rows())
        splits = dict(matches.select("query_id", pl.col("split").cast(pl.String)).unique("query_id").iter_rows())
        for query, vector in zip(wanted, of_queries, strict=True):
            taken = {keys[place[entry]] for entry in known[query]} | {text_key(collection.queries[query])}
            if splits[query] == "train":
                taken |= hidden
            cosines = vectors @ vector
            best = cosines[[place[entry] for entry in right[query]]].max()
            if settings.margin is not None:
                cosines[cosines > best - settings.margin * abs(best)] = -np.inf
            depth = min(settings.nearest + len(taken), len(ids))
            near = [n for n in greatest(cosines[None], depth)[0].tolist() if np.isfinite(cosines[n])]
            near = [entry for entry in near if keys[entry] not in taken][: settings.nearest]
            rng = np.random.default_rng(stable_seed(seed, "near", query))
            chosen = _drawn(near, keys, taken, wanted[query], building.random_share, rng)
            found += [(query, ids[entry]) for entry in chosen]
    if len(found) < sum(wanted.values()):
        log.warning(
            "%d of %d hard negatives were found; `nearest` and `margin` of the input say which may be",
            len(found), sum(wanted.values()),
        )  # fmt: skip
    return pl.DataFrame(found, schema={"query_id": pl.String, "entry_id": pl.String}, orient="row")


def _wanted(judged: pl.DataFrame, per_positive: float) -> dict[str, int]:
    """How many negatives each query with a match lacks, by its id."""
    used = judged.filter(pl.col("split").is_not_null())
    counts = used.group_by("query_id", maintain_order=True).agg(
        positive=(pl.col("label") == 1).sum(), negative=(pl.col("label") == 0).sum()
    )
    lacking = {
        query: round(per_positive * positive) - negative for query, positive, negative in counts.iter_rows()
    }
    return {query: count for query, count in lacking.items() if count > 0}


def _drawn(
    near: list[int],
    keys: list[str],
    taken: set[str],
    count: int,
    random_share: float,
    rng: np.random.Generator,
) -> list[int]:
    """So many entries, each text once: of those that are near, and a share of any."""
    used = set(taken)
    chosen: list[int] = []
    easy = int(rng.binomial(count, random_share))

    def take(candidates: Iterator[int], most: int) -> None:
        for entry in candidates:
            if len(chosen) == most:
                return
            if keys[entry] not in used:
                used.add(keys[entry])
                chosen.append(entry)

    take(iter(rng.permutation(near).tolist()), count - easy)
    take(iter(rng.integers(len(keys), size=_TRIES * easy).tolist()), min(count, len(chosen) + easy))
    return chosen
