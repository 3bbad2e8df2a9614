"""A cross-encoder's scores of all pairs, written shard by shard so that a killed run goes on where it was."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data.shards import read_shard, texts_digest, write_shard
from models.loading.names import find_model
from models.teacher.cross_encoder import cross_encoder_scores, load_cross_encoder
from pipeline.stages.score.config import CrossEncoderSettings
from pipeline.store.store import make_folder
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.score")


def cross_scores(
    settings: CrossEncoderSettings, pairs: Path, folder: Path, shard_pairs: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """The model's own score of each pair, `text_a` first.

    Args:
        pairs: `pairs.parquet`, n rows.
        folder: scratch space of this model and these pairs; shards that are there are not computed again.
        shard_pairs: pairs per shard.

    Returns:
        float32 (n,), in the order of the rows; and what file metadata say of the model.

    Raises:
        FlipkdError: the model cannot be loaded.
    """
    found = find_model(settings.model)
    model = load_cross_encoder(
        found.path,
        trust_remote_code=settings.trust_remote_code,
        trust_key="score.cross_encoder.trust_remote_code",
    )
    make_folder(folder)
    scores, reused = [np.empty(0, dtype=np.float32)], 0
    with (
        pq.ParquetFile(pairs) as file,
        progress("scoring with the cross-encoder", file.metadata.num_rows, "pairs") as advance,
    ):
        for number, batch in enumerate(file.iter_batches(shard_pairs, columns=["text_a", "text_b"])):
            text_a, text_b = (column.to_pylist() for column in batch.columns)
            path = folder / f"shard-{number:06d}-{texts_digest([*text_a, *text_b])}.npy"
            part = read_shard(path, (len(text_a), 1))
            if part is None:
                part = cross_encoder_scores(model, text_a, text_b, batch_size=settings.batch_size)[:, None]
                write_shard(path, part)
            else:
                reused += 1
            advance(len(text_a))
            scores.append(part[:, 0])
    if reused:
        log.info("score: %d shards of the cross-encoder were there from a run that was cut off", reused)
    metadata = {
        "revision": found.identity,
        "weight": settings.weight,
        "max_length": model.max_length,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return np.concatenate(scores), metadata
