"""The vectors of all texts: one teacher's, or those of several side by side as one (`models.teacher.ensemble`)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import FlipkdError
from models.teacher.bi_encoder import describe, load_teacher
from models.teacher.ensemble import join
from models.teacher.fixed_shapes import setting
from pipeline.contract.stage import Context
from pipeline.stages.score.checks import check_embeddings
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.embedding_cache import add, open_cache
from pipeline.stages.score.shards import blocks, embed_in_shards
from pipeline.stages.teach.artifact import read_combination
from pipeline.store.disk import take_room

log = logging.getLogger("flipkd.score")
BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class Embedded:
    """What became of n texts.

    Attributes:
        vectors: unit vectors (n, d), float32, memory-mapped.
        mean_cosine: of two different texts; None for a single text.
        computed: rows of texts that a teacher had to read, int64 (m,); the others were cached.
        seconds: of embedding.
        teacher: for file metadata.
    """

    vectors: np.ndarray
    mean_cosine: float | None
    computed: np.ndarray
    seconds: float
    teacher: dict[str, Any]


def embed_texts(config: ScoreConfig, teach: Path, texts: Sequence[str], context: Context) -> Embedded:
    """Embed texts with what an artifact of `teach` holds.

    Raises:
        FlipkdError: vectors are not numbers, constant or collapsed.
    """
    told = json.loads((teach / "metrics.json").read_text(encoding="utf-8"))
    combined = read_combination(teach / "teacher")
    if combined is None:
        return _one(config, teach, teach / "teacher", told["teacher"], texts, context, context.work / "shards")
    parts, shares = [], []
    for number, (about, entry) in enumerate(zip(told["teachers"], combined["teachers"], strict=True)):
        folder, scratch = teach / "teacher" / entry["folder"], context.work / f"shards-{number}"
        try:
            parts.append(_one(config, teach, folder, about["teacher"], texts, context, scratch))
        except FlipkdError as error:
            raise FlipkdError(f"{error} (teacher {number} of {len(told['teachers'])}, counted from 0)") from error
        shares.append(entry["share"])
    vectors = _joined(parts, shares, context.work / "combined.npy")
    about = [part.teacher | {"share": share} for part, share in zip(parts, shares, strict=True)]
    return Embedded(
        vectors,
        check_embeddings(vectors, texts),
        np.unique(np.concatenate([part.computed for part in parts])),
        sum(part.seconds for part in parts),
        {
            "key": teach.name,
            "revision": " + ".join(teacher["revision"] for teacher in about),
            "tuned": any(teacher["tuned"] for teacher in about),
            "dimension": vectors.shape[1],
            "combine": combined["combine"],
            "teachers": about,
        },
    )


def _one(
    config: ScoreConfig,
    teach: Path,
    folder: Path,
    told: dict[str, Any],
    texts: Sequence[str],
    context: Context,
    scratch: Path,
) -> Embedded:
    """The vectors of the one teacher in `folder`, about which `told` stands in the metrics of `teach`."""
    teacher = load_teacher(folder, trust_remote_code=told["trust_remote_code"])
    cache = None
    # A teacher's own code may lie outside of its folder, so the folder's digest does not say what it computes.
    if not told["trust_remote_code"]:
        how = setting(teacher, config.batch_size)
        cache = open_cache(context.store.embeddings, folder, teach.name, how)
    started = time.monotonic()
    vectors, computed = embed_in_shards(
        teacher, texts, scratch, batch_size=config.batch_size, shard_texts=config.shard_texts, cache=cache
    )
    seconds = time.monotonic() - started
    mean_cosine = check_embeddings(vectors, texts)
    if cache is not None:
        log.info("score: %d texts embedded, %d taken from earlier runs", len(computed), len(texts) - len(computed))
        add(cache, texts, vectors, computed, context.work)
    about = {
        "key": teach.name,
        "revision": told["identity"],
        "tuned": told["kept"] == "tuned",
        **describe(teacher),
    }
    return Embedded(vectors, mean_cosine, computed, seconds, about)


def _joined(parts: Sequence[Embedded], shares: Sequence[float], path: Path) -> np.ndarray:
    shape = (len(parts[0].vectors), sum(part.vectors.shape[1] for part in parts))
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    take_room(path)
    for rows in blocks(len(matrix), BLOCK_ROWS):
        join([np.asarray(part.vectors[rows]) for part in parts], shares, matrix[rows])
    return matrix
