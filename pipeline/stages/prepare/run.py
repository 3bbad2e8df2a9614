"""`prepare`: raw files to `pairs.parquet`, `rejects.parquet` and, from utterances, `utterances.parquet`.

For experiments, some labels of train are taken away (`prepare.label_share`), or wrong on purpose
(`prepare.label_noise`), and `label_noise.parquet` says which of them are wrong.

Every row of a raw file ends in exactly one place: a row of a pairs file in pairs or in rejects, an utterance in
utterances or in rejects. That is counted and checked. A built pair's source and row are those of its first text.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data.duplicates import contradictions, resolve
from data.errors import FlipkdError
from data.schema import UTTERANCES, write_table
from data.splits import LINKS, SPLIT, assign_splits, leaking_rows, linked
from pipeline.contract.stage import Context
from pipeline.stages.prepare.built_pairs import built_pairs, encode
from pipeline.stages.prepare.catalogue import (
    catalogue_advice,
    catalogue_sides,
    count_catalogues,
    entry_columns,
    entry_splits,
    with_entry_splits,
    without_entries,
)
from pipeline.stages.prepare.checks import (
    COUNTED,
    HELD_OUT,
    LEAK,
    NOT_JUDGED,
    check_any,
    check_given,
    check_leaks,
    check_rejected,
    check_splits,
    summarise,
    warn_of_ids,
)
from pipeline.stages.prepare.config import (
    PrepareConfig,
    changes_labels,
    has_raw_texts,
    has_utterances,
)
from pipeline.stages.prepare.expand import expanded
from pipeline.stages.prepare.inputs import check_inputs, file_stamps
from pipeline.stages.prepare.keep import add_kept
from pipeline.stages.prepare.label_changes import Changes, change_labels, count_changes
from pipeline.stages.prepare.near_entries import Encoder
from pipeline.stages.prepare.overrides import (
    DROPPED,
    Verdicts,
    count_verdicts,
    on_built,
    read_verdicts,
    with_verdicts,
)
from pipeline.stages.prepare.raw_texts import choose_raw_texts
from pipeline.stages.prepare.rows import REFUSED, Gathered, gather
from pipeline.stages.prepare.written import (
    raw_rejects,
    write_catalogue,
    write_pairs,
    write_raw_texts,
    write_rejects,
)

log = logging.getLogger("flipkd.prepare")


def run(config: PrepareConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Read, check, split and write the pairs; build them where utterances are given.

    Returns:
        Counts: `rows` (read, where they went), `rejected` by reason, `contradictions` (pairs with two labels,
        texts with two ids), `splits`, `sources`, mean characters; with `prepare.label_share` or
        `prepare.label_noise` also `label_share`, `label_noise`.

    Raises:
        FlipkdError: a file cannot be read or lacks a column, too many rows were rejected, given splits leak, or
            a split lacks what later stages need.
    """
    folder = context.work / "rows"
    return prepare(config, out, context.seed, lambda texts: encode(config.pairs, texts), folder)


def prepare(config: PrepareConfig, out: Path, seed: int, encoder: Encoder, folder: Path) -> dict[str, Any]:
    """`run` with the encoder for hard negatives as a plain function, and scratch space, which is swept."""
    check_inputs(config)
    config = expanded(config)
    before = file_stamps(config)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        summary = _prepare(config, out, seed, encoder, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    changed = [path for path, stamp in file_stamps(config).items() if stamp != before[path]]
    if changed:
        raise FlipkdError(f"{changed[0]}: it changed while it was read; run again when nothing writes to it")
    return summary


def _prepare(config: PrepareConfig, out: Path, seed: int, encoder: Encoder, folder: Path) -> dict[str, Any]:
    verdicts = read_verdicts(config.overrides)
    as_read = gather(config, seed, folder)
    gathered, dropped = with_verdicts(as_read, verdicts)
    warn_of_ids(gathered.utterances)
    given = _links(gathered, gathered.pairs, gathered.utterances)
    leaks = check_given(gathered, given)
    leaking = leaking_rows(given) if leaks and config.splitting.leaks == "drop" else None
    pairs, utterances, refused = _resolved(config, gathered, {DROPPED: dropped, LEAK: leaking})
    rejects = pl.concat([gathered.rejects, refused])
    texts = gathered.texts + gathered.raw.height
    if pairs.height + utterances.height + texts + rejects.height != gathered.rows_read:
        counts = f"{pairs.height} pairs, {utterances.height} utterances, {rejects.height} rejects"
        raise RuntimeError(f"prepare lost count of its rows: {gathered.rows_read} read, but {counts}")
    unasked = rejects.filter(~pl.col("reason").is_in((LEAK, NOT_JUDGED, DROPPED)))
    check_rejected(config, unasked, gathered.rows_read, lambda place: raw_rejects(gathered, refused, place))
    check_any(gathered, rejects)

    held_out = pl.Series([None] * pairs.height, dtype=SPLIT)
    if config.splitting.entries == "held_out":
        held_out = entry_splits(pairs, config, seed)
    unseen_by_train = pairs.filter(held_out.is_not_null())
    pairs, utterances, unseen = _split(gathered, pairs, utterances, held_out, seed)
    raw, known = choose_raw_texts(gathered, pairs, utterances)
    refused, rejects = (pl.concat([part, unseen, known]) for part in (refused, rejects))
    made = built_pairs(gathered, pairs, utterances, unseen_by_train, encoder, seed)
    built = on_built(made, verdicts) if len(verdicts) else made
    utterances = utterances.sort(pl.col("split").cast(SPLIT), "file", "source_row")
    counted = built.with_columns(pl.col("split").cast(SPLIT), pl.col("group_code").alias("group"))
    everything = pl.concat([part.select(*COUNTED) for part in (pairs, counted)])
    check_splits(gathered, everything, rejects)

    changes, kept, characters = _write(gathered, pairs, built, verdicts, out, seed)
    write_rejects(gathered, refused, out / "rejects.parquet")
    if has_raw_texts(config):
        write_raw_texts(gathered, raw, out / "texts.parquet")
    if has_utterances(config):
        write_table(utterances.select(UTTERANCES.names).to_arrow(), out / "utterances.parquet", UTTERANCES)
    rows = {
        "read": gathered.rows_read,
        "pairs": pairs.height,
        "utterances": utterances.height,
        "rejected": rejects.height,
        "pairs_built": built.height,
        **({"texts": gathered.texts + raw.height} if texts else {}),
    }
    double = {
        "pairs": contradictions(gathered.pairs, key="pair_id", verdict="label"),
        "utterances": contradictions(gathered.utterances, key="key", verdict="id"),
    }
    summary = summarise(config, everything, utterances, rejects, rows, double)
    summary |= count_changes(changes, summary["splits"]["train"])
    if config.overrides is not None:
        summary["overrides"] = count_verdicts(verdicts, as_read.pairs, made, config.overrides)
    if kept:
        summary["kept_columns"] = kept
    if leaks:
        summary["leaks"] = {
            "texts_or_groups": leaks,
            "policy": config.splitting.leaks,
            "rows": summary["rejected"].get(LEAK, 0),
        }
    if catalogue_sides(config):
        summary["catalogue"] = count_catalogues(config, pairs)
    summary["mean_characters"] = round(characters / (2 * everything.height), 1)
    _log(config, summary)
    return summary


def _write(
    gathered: Gathered, pairs: pl.DataFrame, built: pl.DataFrame, verdicts: Verdicts, out: Path, seed: int
) -> tuple[Changes, list[str], int]:
    """Write `pairs.parquet`, the labels in it as they are wanted, and `catalogue.parquet`.

    Returns:
        How labels were changed for experiments, the user's own columns, and the characters of all texts.
    """
    config = gathered.config
    splits = np.full(gathered.pairs.height, -1, np.int8)
    splits[pairs["row"].to_numpy()] = pairs["split"].to_physical().to_numpy()
    as_given = config.overrides is None and not changes_labels(config)
    unchanged = (out if as_given else gathered.folder) / "pairs.parquet"
    characters = write_pairs(gathered, splits, built, unchanged)
    changes = change_labels(config, unchanged, out, seed, verdicts)
    kept = add_kept(config, out / "pairs.parquet", gathered.folder / "with-kept.parquet")
    if gathered.collections:
        write_catalogue(gathered, out / "catalogue.parquet")
    if config.splitting.leaks != "keep":
        check_leaks(out / "pairs.parquet", entry_columns(config))
    return changes, kept, characters


def _resolved(
    config: PrepareConfig, gathered: Gathered, going: Mapping[str, np.ndarray | None]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Leaks, duplicates and contradictions decided.

    Args:
        going: by reason the rows that go for it; pairs, then utterances; bool. None if none does.

    Returns:
        The pairs that are taken, with their `row` among the gathered ones; the utterances; the rows that are
        refused, with `REFUSED`.
    """
    decided: list[pl.DataFrame] = []
    start = 0
    for frame, key, verdict in ((gathered.pairs, "pair_id", "label"), (gathered.utterances, "key", "id")):
        staying = frame.with_row_index("row")
        gone: list[pl.DataFrame] = []
        for reason, rows in going.items():
            if rows is not None:
                leaves = pl.Series(rows[start : start + frame.height]).gather(staying["row"])
                gone.append(staying.filter(leaves).with_columns(reason=pl.lit(reason)))
                staying = staying.filter(~leaves)
        start += frame.height
        verdicts = resolve(staying, key=key, verdict=verdict, policy=config.contradictions)
        decided.append(pl.concat([verdicts, *gone]).sort("row") if gone else verdicts)
    refused = [frame.filter(pl.col("reason").is_not_null()).select(*REFUSED) for frame in decided]
    pairs, utterances = (frame.filter(pl.col("reason").is_null()) for frame in decided)
    return pairs, utterances, pl.concat(refused)


def _log(config: PrepareConfig, summary: dict[str, Any]) -> None:
    """Say what became of the rows."""
    counts = list(summary["rows"].values())
    log.info("%d rows read: %d pairs, %d utterances, %d rejected; %d pairs built", *counts[:5])
    for reason, count in summary["rejected"].items():
        log.info("rejected as %s: %d", reason, count)
    if any(summary["contradictions"].values()):
        log.warning(
            "%d pairs stand with both labels and %d texts under two ids; `prepare.contradictions: %s` decided",
            *summary["contradictions"].values(), config.contradictions,
        )  # fmt: skip
    for split, counts in summary["splits"].items():
        log.info("%s: %d pairs (%d positive, %d negative, %d unlabelled)", split, *list(counts.values())[:4])


# ------------------------------------------------------------------------------------- splitting, building


def _links(gathered: Gathered, pairs: pl.DataFrame, utterances: pl.DataFrame) -> pl.DataFrame:
    """The rows as `data.splits` reads them: pairs first, then utterances."""
    by_id = gathered.config.splitting.by == "group"
    nothing = pl.lit(None, pl.String).alias("stratum")
    return pl.concat(
        [
            without_entries(pairs, gathered.config).select(*LINKS, "split", nothing),
            utterances.select(
                *LINKS, pl.col("split").cast(SPLIT), nothing if by_id else pl.col("id").alias("stratum")
            ),
        ]
    )


def _split(
    gathered: Gathered, pairs: pl.DataFrame, utterances: pl.DataFrame, held_out: pl.Series, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Pairs and utterances with their splits, and the rows of train, with `REFUSED`, whose entry is held out.

    Args:
        held_out: for each pair the split that its entry is held out for, or null.
    """
    shares = gathered.config.splitting
    links = given = _links(gathered, pairs, utterances)
    if shares.entries == "held_out":
        links = with_entry_splits(given, pairs, held_out)
    sizes = np.bincount(linked(links))
    if sizes.sum() > 1 and sizes.max() > 0.5 * sizes.sum():
        log.warning(
            "%d of %d rows are linked by shared texts or groups and must stand in one split: the shares of the "
            "splits cannot be met closely. %s",
            sizes.max(), sizes.sum(), catalogue_advice(gathered.config, pairs),
        )  # fmt: skip
    assigned = assign_splits(links, dev=shares.dev, test=shares.test, seed=seed)
    splits = given.select(pl.coalesce("split", assigned)).to_series()  # given splits that leak may be kept
    split_pairs = pairs.with_columns(splits.head(pairs.height).alias("split"))
    unseen = (split_pairs["split"] == "train") & held_out.is_not_null()
    return (
        split_pairs.filter(~unseen),
        utterances.with_columns(splits.tail(utterances.height).cast(pl.String).alias("split")),
        split_pairs.filter(unseen).with_columns(reason=pl.lit(HELD_OUT)).select(*REFUSED),
    )
