"""Which texts without a label are taken: each once, and none that is measured on or known to train already."""

from __future__ import annotations

import polars as pl

from data.splits import link_of
from pipeline.stages.prepare.catalogue import without_entries
from pipeline.stages.prepare.checks import KNOWN_TEXT, MEASURED_TEXT
from pipeline.stages.prepare.rows import REFUSED, Gathered

_KEYS = ("key_a", "key_b")


def choose_raw_texts(
    gathered: Gathered, pairs: pl.DataFrame, utterances: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The texts that are taken, and the others with `REFUSED`.

    Args:
        pairs, utterances: those that are taken, with `split`, `key_a`, `key_b`. Entries of a catalogue stand in
            every split, so they are known to train and not held out.
    """
    if gathered.raw.is_empty():
        return gathered.raw, pl.DataFrame(schema=REFUSED)
    links = pl.Series([link_of(key) for key in gathered.raw["key"]], dtype=pl.UInt64)
    own = without_entries(pairs, gathered.config)
    sides = [part.filter(pl.col("split") != "train")[key] for part in (own, utterances) for key in _KEYS]
    measured = pl.concat(sides).drop_nulls().unique()
    known = pl.concat([part[key] for part in (pairs, utterances) for key in _KEYS]).drop_nulls().unique()
    reasons = gathered.raw.with_columns(
        reason=pl.when(links.is_in(measured.implode()))
        .then(pl.lit(MEASURED_TEXT))
        .when(links.is_in(known.implode()) | ~pl.col("key").is_first_distinct())
        .then(pl.lit(KNOWN_TEXT))
    )
    return (
        reasons.filter(pl.col("reason").is_null()).drop("reason"),
        reasons.filter(pl.col("reason").is_not_null()).select(*REFUSED),
    )
