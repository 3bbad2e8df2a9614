"""Wrong labels on purpose, for experiments that ask what the filter finds of them (`prepare.label_noise`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.schema import LABEL_NOISE, PAIRS, ROW_GROUP_ROWS, write_table, write_tables
from data.texts import stable_number

LABEL = PAIRS.get_field_index("label")


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
    candidates = _candidates(clean)
    flipped = chosen(candidates["pair_id"].to_list(), share, seed)
    noise = candidates.filter(pl.col("pair_id").is_in(flipped))

    def tables() -> Iterator[pa.Table]:
        with pq.ParquetFile(clean) as file:
            for batch in file.iter_batches(ROW_GROUP_ROWS):
                yield _flipped(pa.table(batch), flipped)

    write_tables(tables(), out / "pairs.parquet", PAIRS)
    write_table(noise.to_arrow(), out / "label_noise.parquet", LABEL_NOISE)
    _check_classes(out / "pairs.parquet", share)
    to_negative = int((noise["label"] == 1).sum())
    return {
        "share": share,
        "labelled": candidates.height,
        "flipped": noise.height,
        "to_positive": noise.height - to_negative,
        "to_negative": to_negative,
    }


def chosen(pair_ids: list[str], share: float, seed: int) -> list[str]:
    """Which pairs are flipped: the first round(share n) in the order of a hash of seed and id.

    So those of a smaller share are among those of a larger one, and rows that come later replace few of them:
    those near the end of the order.

    Args:
        pair_ids: n distinct ids, in any order.
    """
    in_order = sorted(pair_ids, key=lambda pair_id: (stable_number("label noise", seed, pair_id), pair_id))
    return in_order[: round(share * len(in_order))]


def _candidates(pairs: Path) -> pl.DataFrame:
    """`pair_id` and `label` of the labelled training pairs.

    A pair that stands there with both labels (`prepare.contradictions: keep`) has no right one to turn round.
    """
    rows = pl.scan_parquet(pairs).filter((pl.col("split") == "train") & pl.col("label").is_not_null())
    return rows.select("pair_id", "label").unique("pair_id", keep="none", maintain_order=True).collect()


def _flipped(table: pa.Table, flipped: list[str]) -> pa.Table:
    wrong = pl.col("pair_id").is_in(flipped)
    labels = pl.DataFrame(table.select(["pair_id", "label"])).select(
        pl.when(wrong).then(1 - pl.col("label")).otherwise(pl.col("label")).cast(pl.Int8)
    )
    return table.set_column(LABEL, PAIRS.field(LABEL), labels.to_series().to_arrow())


def _check_classes(pairs: Path, share: float) -> None:
    rows = pl.scan_parquet(pairs).filter(pl.col("split") == "train").select("label").drop_nulls()
    if rows.collect()["label"].n_unique() == 1:
        raise FlipkdError(
            f"prepare.label_noise: with {share:g} of them flipped, all labelled training pairs have one label; "
            "lower it or give more pairs"
        )
