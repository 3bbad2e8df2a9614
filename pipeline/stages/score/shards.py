"""Embeddings of many texts, written shard by shard so that a killed run goes on where it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from data.arrays import create_array
from data.shards import read_shard, texts_digest, write_shard
from models.teacher.bi_encoder import dimension, several_gpus
from models.teacher.fixed_shapes import embed_fixed
from pipeline.stages.score.embedding_cache import EmbeddingCache, fill
from pipeline.store.store import make_folder
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.score")


def embed_in_shards(
    teacher: SentenceTransformer,
    texts: Sequence[str],
    folder: Path,
    *,
    batch_size: int,
    shard_texts: int,
    cache: EmbeddingCache | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Embed the texts that are not cached, longest first, a shard at a time.

    Args:
        texts: n distinct texts.
        folder: scratch space of this teacher and these pairs; shards that are there are not computed again.
        batch_size: see `models.teacher.fixed_shapes.embed_fixed`.
        shard_texts: texts per shard.
        cache: of this teacher; it is only read.

    Returns:
        A memory-mapped float32 (n, d) in `folder`, row i for text i, and int64 (m,): rows that were not cached.
    """
    make_folder(folder)
    matrix = create_array(folder / "embeddings.npy", (len(texts), dimension(teacher)))
    missing = np.arange(len(texts)) if cache is None else np.flatnonzero(~fill(cache, texts, matrix))
    if len(missing):
        order = missing[np.argsort([-len(texts[int(row)]) for row in missing], kind="stable")]
        shards = [order[rows] for rows in blocks(len(order), shard_texts)]
        _embed_shards(teacher, texts, folder, shards, matrix, batch_size)
    return matrix, missing


def _embed_shards(
    teacher: SentenceTransformer,
    texts: Sequence[str],
    folder: Path,
    shards: Sequence[np.ndarray],
    matrix: np.ndarray,
    batch_size: int,
) -> None:
    total = sum(map(len, shards))
    with progress("embedding", total, "texts") as advance, several_gpus(teacher) as pool:
        reused = 0
        for number, rows in enumerate(shards):
            batch = [texts[int(row)] for row in rows]
            path = folder / f"shard-{number:06d}-{texts_digest(batch)}.npy"
            vectors = read_shard(path, (len(batch), matrix.shape[1]))
            if vectors is None:
                vectors = embed_fixed(teacher, batch, batch_size=batch_size, advance=advance, pool=pool)
                write_shard(path, vectors)
            else:
                reused += 1
                advance(len(batch))
            matrix[rows] = vectors
    if reused:
        log.info("score: %d of %d shards were there from a run that was cut off", reused, len(shards))


def blocks(total: int, size: int) -> Iterator[slice]:
    """0..total cut into slices of `size`."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
