"""The pairs that no file gives: those of utterances by their ids, and near entries of retrieval sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from data.errors import FlipkdError
from data.pairs import build_pairs
from data.texts import pair_id_of_keys
from models.loading.names import find_model
from pipeline.stages.prepare.config import PairBuilding
from pipeline.stages.prepare.near_entries import Encoder, near_negatives
from pipeline.stages.prepare.rows import Gathered
from pipeline.terminal.progress import progress


def built_pairs(
    gathered: Gathered,
    pairs: pl.DataFrame,
    utterances: pl.DataFrame,
    unseen: pl.DataFrame,
    encoder: Encoder,
    seed: int,
) -> pl.DataFrame:
    """All pairs that no file gives, in order: those of utterances, and near entries of retrieval sets.

    Args:
        unseen: pairs whose entries train must not see.
    """
    config = gathered.config
    built = _build(config.pairs, utterances, encoder, seed, config.splitting.by == "group")
    if gathered.collections:
        built = pl.concat([built, near_negatives(gathered, pairs, encoder, unseen, seed)])
    # A given pair says more than one that follows from ids.
    own = pairs.select(pl.col("pair_id").bin.encode("hex"))
    built = built.join(own, on="pair_id", how="anti", maintain_order="left")
    return built.sort("source_row", "pair_id", "label")


def _build(
    settings: PairBuilding, utterances: pl.DataFrame, encoder: Encoder, seed: int, by_id: bool
) -> pl.DataFrame:
    """The pairs of all utterances, with the columns of `pairs.parquet`, and those that are counted."""
    wants_hard = utterances.height and settings.negatives_per_positive > 0 and settings.random_share < 1
    vectors = None
    if wants_hard:
        vectors = encoder(utterances["text"].to_list())
        if len(vectors) != utterances.height or not np.isfinite(vectors).all():
            raise FlipkdError(
                f"prepare.pairs.encoder: {settings.encoder} gave vectors that are not finite numbers"
            )
    chosen = build_pairs(
        utterances,
        vectors,
        positives_per_id=settings.positives_per_id,
        negatives_per_positive=settings.negatives_per_positive,
        random_share=settings.random_share,
        confusable_ids=settings.confusable_ids,
        seed=seed,
        measured_per_id=settings.measured_per_id,
    )
    first, second = utterances[chosen["a"]], utterances[chosen["b"]]
    ids = [pair_id_of_keys(a, b) for a, b in zip(first["key"], second["key"], strict=True)]
    return first.select(
        pl.Series("pair_id", ids, pl.String),
        pl.col("text").alias("text_a"),
        second["text"].alias("text_b"),
        chosen["label"],
        "split",
        (pl.col("id") if by_id else pl.lit(None, pl.String)).alias("group"),
        "source",
        "source_row",
        "file",
        "key_a",
        second["key_a"].alias("key_b"),
        pl.col("group").alias("group_code"),
    )


def encode(settings: PairBuilding, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of the configured encoder, shape (texts, d), float32."""
    from models.teacher.bi_encoder import embed, load_teacher

    model = load_teacher(
        find_model(settings.encoder).path,
        trust_remote_code=settings.trust_remote_code,
        trust_key="prepare.pairs.trust_remote_code",
    )
    with progress("embedding for hard negatives", total=len(texts), unit="texts") as advance:
        return embed(model, texts, advance=advance)
