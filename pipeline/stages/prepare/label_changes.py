"""Labels of train changed on purpose, for experiments that ask what the filter and the teacher make up for.

`prepare.label_noise` turns some round, `prepare.label_share` takes some away.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.schema import LABEL_NOISE, PAIRS, ROW_GROUP_ROWS, write_table, write_tables
from data.texts import stable_number
from pipeline.stages.prepare.config import PrepareConfig, changes_labels
from pipeline.stages.prepare.overrides import Verdicts

log = logging.getLogger("flipkd.prepare")
LABEL = PAIRS.get_field_index("label")
Changes = dict[str, dict[str, int | float]]


def change_labels(config: PrepareConfig, given: Path, out: Path, seed: int, verdicts: Verdicts) -> Changes:
    """Write `pairs.parquet` with the labels that are wanted; nothing, where they stay as they are.

    Args:
        given: the pairs as they are, in another folder than `out` if any label changes.
        verdicts: of people, which come first.

    Returns:
        What `hide_labels` and `flip_labels` say, as `label_share` and `label_noise`.

    Raises:
        FlipkdError: train then lacks a class.
    """
    changes: Changes = {}
    if config.overrides is not None:
        path = given.with_name("judged.parquet") if changes_labels(config) else out / "pairs.parquet"
        _write_changed(given, path, verdicts.label())
        given = path
    if config.label_share < 1:
        path = given.with_name("labelled.parquet") if config.label_noise else out / "pairs.parquet"
        changes["label_share"] = hide_labels(given, path, config.label_share, seed)
        given = path
    if config.label_noise:
        changes["label_noise"] = flip_labels(given, out, config.label_noise, seed)
    return changes


def count_changes(changes: Changes, train: dict[str, int]) -> Changes:
    """Bring the counts of train's `positive`, `negative` and `unlabelled` pairs up to date, and warn."""
    if hidden := changes.get("label_share"):
        train["positive"] -= int(hidden["positive"])
        train["negative"] -= int(hidden["negative"])
        train["unlabelled"] += int(hidden["hidden"])
        log.warning(
            "%d of %d labels of train are left out on purpose (`prepare.label_share`)",
            hidden["hidden"], hidden["labelled"],
        )  # fmt: skip
    if noise := changes.get("label_noise"):
        moved = int(noise["to_positive"] - noise["to_negative"])
        train["positive"] += moved
        train["negative"] -= moved
        log.warning(
            "%d of %d labels of train are wrong on purpose (`prepare.label_noise`): a student of this run is for "
            "experiments alone", noise["flipped"], noise["labelled"],
        )  # fmt: skip
    return changes


def flip_labels(clean: Path, out: Path, share: float, seed: int) -> dict[str, int | float]:
    """Write `pairs.parquet` with a share of the labelled training pairs flipped, and `label_noise.parquet` beside.

    Args:
        clean: the pairs as they are, with the columns of `pairs.parquet`.
        out: the folder to write to.
        share: of the labelled training pairs, in (0, 1).

    Returns:
        `share`; `labelled`, the pairs it is a share of; `flipped`, and of those `to_positive` and `to_negative`.

    Raises:
        FlipkdError: train then lacks a class.
    """
    candidates = _labelled(clean)
    flipped = chosen(candidates["pair_id"].to_list(), share, seed)
    noise = candidates.filter(pl.col("pair_id").is_in(flipped))
    _write_changed(clean, out / "pairs.parquet", _of(flipped, 1 - pl.col("label")))
    write_table(noise.to_arrow(), out / "label_noise.parquet", LABEL_NOISE)
    _check_classes(out / "pairs.parquet", f"prepare.label_noise: with {share:g} of them flipped", "lower it")
    to_negative = int((noise["label"] == 1).sum())
    return {
        "share": share,
        "labelled": candidates.height,
        "flipped": noise.height,
        "to_positive": noise.height - to_negative,
        "to_negative": to_negative,
    }


def hide_labels(clean: Path, path: Path, share: float, seed: int) -> dict[str, int | float]:
    """Write the pairs with the labels of a share of the labelled training pairs alone; the others have none.

    Args:
        clean: the pairs as they are, with the columns of `pairs.parquet`.
        path: the file to write.
        share: whose labels stay, in (0, 1).

    Returns:
        `share`; `labelled`, the pairs it is a share of; `hidden`, and of those `positive` and `negative`.

    Raises:
        FlipkdError: train then lacks a class.
    """
    candidates = _labelled(clean)
    stay = chosen(candidates["pair_id"].to_list(), share, seed, "label share")
    hidden = candidates.filter(~pl.col("pair_id").is_in(stay))
    _write_changed(clean, path, _of(hidden["pair_id"].to_list(), pl.lit(None)))
    _check_classes(path, f"prepare.label_share: with {share:g} of them", "raise it")
    positive = int((hidden["label"] == 1).sum())
    return {
        "share": share,
        "labelled": candidates.height,
        "hidden": hidden.height,
        "positive": positive,
        "negative": hidden.height - positive,
    }


def chosen(pair_ids: list[str], share: float, seed: int, purpose: str = "label noise") -> list[str]:
    """Which pairs are chosen: the first round(share n) in the order of a hash of purpose, seed and id.

    So those of a smaller share are among those of a larger one, and rows that come later replace few of them:
    those near the end of the order.

    Args:
        pair_ids: n distinct ids, in any order.
    """
    in_order = sorted(pair_ids, key=lambda pair_id: (stable_number(purpose, seed, pair_id), pair_id))
    return in_order[: round(share * len(in_order))]


def _labelled(pairs: Path) -> pl.DataFrame:
    """`pair_id` and `label` of the labelled training pairs.

    A pair that stands there with both labels (`prepare.contradictions: keep`) has no right one to turn round.
    """
    rows = pl.scan_parquet(pairs).filter((pl.col("split") == "train") & pl.col("label").is_not_null())
    return rows.select("pair_id", "label").unique("pair_id", keep="none", maintain_order=True).collect()


def _of(pair_ids: Collection[str], label: pl.Expr) -> pl.Expr:
    """Another label for some of the pairs."""
    return pl.when(pl.col("pair_id").is_in(pair_ids)).then(label).otherwise(pl.col("label")).cast(pl.Int8)


def _write_changed(pairs: Path, path: Path, label: pl.Expr) -> None:
    """Write the pairs with other labels.

    Args:
        label: Int8, from `pair_id` and `label`.
    """

    def tables() -> Iterator[pa.Table]:
        with pq.ParquetFile(pairs) as file:
            for batch in file.iter_batches(ROW_GROUP_ROWS):
                table = pa.table(batch)
                labels = pl.DataFrame(table.select(["pair_id", "label"])).select(label)
                yield table.set_column(LABEL, PAIRS.field(LABEL), labels.to_series().to_arrow())

    write_tables(tables(), path, pq.read_schema(pairs))


def _check_classes(pairs: Path, what: str, remedy: str) -> None:
    rows = pl.scan_parquet(pairs).filter(pl.col("split") == "train").select("label").drop_nulls()
    labels = rows.collect()["label"].n_unique()
    if labels < 2:
        left = "all labelled training pairs have one label" if labels else "no training pair has a label"
        raise FlipkdError(f"{what}, {left}; {remedy} or give more pairs")
