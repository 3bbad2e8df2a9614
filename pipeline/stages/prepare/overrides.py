"""Verdicts of people on single pairs (`prepare.overrides`), over the labels that the files give.

The file is what `flipkd scores suspects -o review.csv` writes, filled in: `pair_id` and `verdict`, which is
`match` (or 1), `no match` (or 0), `drop`, or empty where the label stays. Ids go by the two texts, so a verdict
holds however the files are cut or sorted. A pair whose rows contradict each other has then one label; of pairs
that are built from utterances the pair's label changes, not the texts' ids.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from data.collect import name_of
from data.errors import FlipkdError
from data.readers import check_columns, read_rows
from data.records import Reject, Row
from pipeline.stages.prepare.inputs import input_path
from pipeline.stages.prepare.rows import Gathered

log = logging.getLogger("flipkd.prepare")
PLACE = "prepare.overrides"
DROPPED = "dropped_by_verdict"
WORDS = {"match": "match", "1": "match", "no match": "no match", "0": "no match", "drop": "drop", "": None}
LABELS = {"match": 1, "no match": 0}


@dataclass(frozen=True)
class Verdicts:
    """What people said of pairs.

    Attributes:
        labels: by `pair_id` the right label.
        dropped: ids of the pairs that go.
    """

    labels: dict[str, int]
    dropped: frozenset[str]

    def __len__(self) -> int:
        return len(self.labels) + len(self.dropped)

    def label(self) -> pl.Expr:
        """The label of rows with `pair_id` and `label`, Int8."""
        said = pl.col("pair_id").replace_strict(self.labels, default=None, return_dtype=pl.Int8)
        return pl.coalesce(said, pl.col("label")).cast(pl.Int8).alias("label")


def read_verdicts(name: str | None) -> Verdicts:
    """The verdicts of a file; none without a file.

    Raises:
        FlipkdError: it cannot be read, lacks a column, or holds a word that is no verdict, or two for one pair.
    """
    if name is None:
        return Verdicts({}, frozenset())
    path = input_path(name, PLACE)
    try:
        check_columns(path, "auto", None, ["pair_id", "verdict"])
    except FlipkdError as error:
        raise FlipkdError(f"{PLACE}: {error}") from None
    found: dict[str, str] = {}
    for number, pair_id, verdict in _said(path):
        if found.setdefault(pair_id, verdict) != verdict:
            raise FlipkdError(
                f"{PLACE}: {path.name} row {number}: the pair {pair_id} is called {verdict!r} here and "
                f"{found[pair_id]!r} before; leave one of them"
            )
    labels = {pair_id: LABELS[verdict] for pair_id, verdict in found.items() if verdict in LABELS}
    return Verdicts(labels, frozenset(found.keys() - labels.keys()))


def _said(path: Path) -> Iterator[tuple[int, str, str]]:
    for row in read_rows(path):
        if isinstance(row, Reject):
            raise FlipkdError(f"{PLACE}: {path.name} row {row.number} cannot be read ({row.reason})")
        given = _word(row, "verdict").lower()
        if given not in WORDS:
            raise FlipkdError(
                f"{PLACE}: {path.name} row {row.number}: verdict is {given!r}; write match, no match or drop, or "
                "nothing where the label stays"
            )
        verdict = WORDS[given]
        if verdict is not None:
            yield row.number, _word(row, "pair_id"), verdict


def _word(row: Row, column: str) -> str:
    # pandas writes 1 as 1.0 where cells are empty.
    return (name_of(row.values.get(column)) or "").removesuffix(".0")


def with_verdicts(gathered: Gathered, verdicts: Verdicts) -> tuple[Gathered, np.ndarray | None]:
    """The rows with the labels that people gave.

    Returns:
        The rows; and which of them are dropped: pairs, then utterances (none of these); bool. None if none is.
    """
    if not len(verdicts):
        return gathered, None
    ids = gathered.pairs.select(pl.col("pair_id").bin.encode("hex"), "label")
    labelled = gathered.pairs.with_columns(ids.select(verdicts.label()).to_series())
    dropped = ids["pair_id"].is_in(list(verdicts.dropped)).to_numpy()
    rows = np.concatenate([dropped, np.zeros(gathered.utterances.height, bool)])
    return replace(gathered, pairs=labelled), rows if rows.any() else None


def on_built(built: pl.DataFrame, verdicts: Verdicts) -> pl.DataFrame:
    """Pairs that no file gives, with verdicts on them."""
    kept = built.filter(~pl.col("pair_id").is_in(list(verdicts.dropped)))
    return kept.with_columns(verdicts.label())


def count_verdicts(
    verdicts: Verdicts, given: pl.DataFrame, built: pl.DataFrame, name: str | None
) -> dict[str, int]:
    """What became of the verdicts: pairs `relabelled`, `confirmed`, `dropped`, `unknown` (no such pair any more).

    Args:
        given: the rows of pairs as they were read. built: the pairs that were built, before verdicts.
        name: of the file, for the log.
    """
    of_files = given.select(pl.col("pair_id").bin.encode("hex"), "label")
    before = pl.concat([of_files, built.select("pair_id", pl.col("label").cast(pl.Int8))])
    said = before.filter(pl.col("pair_id").is_in(list(verdicts.labels)))
    right = pl.col("label").eq_missing(verdicts.label())
    confirmed = said.group_by("pair_id").agg(right.all().alias("right"))["right"].sum()
    known = before.filter(pl.col("pair_id").is_in([*verdicts.labels, *verdicts.dropped]))["pair_id"].n_unique()
    dropped = before.filter(pl.col("pair_id").is_in(list(verdicts.dropped)))["pair_id"].n_unique()
    counts = {
        "relabelled": said["pair_id"].n_unique() - confirmed,
        "confirmed": confirmed,
        "dropped": dropped,
        "unknown": len(verdicts) - known,
    }
    log.info("%s: %s", name, ", ".join(f"{count} {what}" for what, count in counts.items()))
    if counts["unknown"]:
        log.warning(
            "%d of the %d pairs in %s (`prepare.overrides`) are not in the input any more",
            counts["unknown"], len(verdicts), name,
        )  # fmt: skip
    return counts
