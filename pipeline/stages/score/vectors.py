"""The vectors of all texts: one teacher's, or those of several side by side as one (`models.teacher.ensemble`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.arrays import create_array
from data.errors import FlipkdError
from models.runtime.truncation import Cut
from models.teacher.bi_encoder import describe, load_teacher
from models.teacher.ensemble import join
from models.teacher.fixed_shapes import setting
from models.teacher.sides import Sides
from pipeline.contract.stage import Context
from pipeline.stages.score.checks import check_embeddings
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.embedding_cache import add, open_cache
from pipeline.stages.score.shards import blocks, embed_in_shards
from pipeline.stages.score.truncation import teachers_cut
from pipeline.stages.teach.artifact import Saved, read_combination, saved_teachers

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
        cuts: what each teacher does not read of the texts, where that is known.
    """

    vectors: np.ndarray
    mean_cosine: float | None
    computed: np.ndarray
    seconds: float
    teacher: dict[str, Any]
    cuts: tuple[Cut, ...] = ()


def embed_texts(
    config: ScoreConfig, teach: Path, texts: Sequence[str], context: Context, entries: Container[str] = ()
) -> Embedded:
    """Embed texts with what an artifact of `teach` holds.

    Args:
        entries: those of a catalogue, which a teacher that tells queries from documents reads as documents.

    Raises:
        FlipkdError: vectors are not numbers, constant or collapsed.
    """
    combined = read_combination(teach / "teacher")
    teachers = saved_teachers(teach)
    if combined is None:
        return _one(config, teach.name, teachers[0], texts, context, context.work / "shards", entries)
    parts = []
    for number, teacher in enumerate(teachers):
        try:
            parts.append(
                _one(config, teach.name, teacher, texts, context, context.work / f"shards-{number}", entries)
            )
        except FlipkdError as error:
            raise FlipkdError(f"{error} (teacher {number} of {len(teachers)}, counted from 0)") from error
    shares = [teacher.share for teacher in teachers]
    vectors = _joined(parts, shares, context.work / "combined.npy")
    metadata = [part.teacher | {"share": share} for part, share in zip(parts, shares, strict=True)]
    return Embedded(
        vectors,
        check_embeddings(vectors, texts),
        np.unique(np.concatenate([part.computed for part in parts])),
        sum(part.seconds for part in parts),
        {
            "key": teach.name,
            "revision": " + ".join(teacher["revision"] for teacher in metadata),
            "tuned": any(teacher["tuned"] for teacher in metadata),
            "dimension": vectors.shape[1],
            "combine": combined["combine"],
            "teachers": metadata,
        },
        tuple(cut for part in parts for cut in part.cuts),
    )


def _one(
    config: ScoreConfig,
    teach_key: str,
    saved: Saved,
    texts: Sequence[str],
    context: Context,
    scratch: Path,
    entries: Container[str],
) -> Embedded:
    """The vectors of one teacher."""
    trusted = saved.metadata["trust_remote_code"]
    teacher = load_teacher(saved.folder, trust_remote_code=trusted)
    if "sides" in saved.metadata:
        texts = Sides(**saved.metadata["sides"]).given(texts, entries)
    cut = teachers_cut(teacher, texts, config.max_truncated)
    cache = None
    # A teacher's own code may lie outside of its folder, so the folder's digest does not say what it computes.
    if not trusted:
        how = setting(teacher, config.batch_size)
        cache = open_cache(context.store.embeddings, saved.folder, teach_key, how)
    started = time.monotonic()
    vectors, computed = embed_in_shards(
        teacher, texts, scratch, batch_size=config.batch_size, shard_texts=config.shard_texts, cache=cache
    )
    seconds = time.monotonic() - started
    mean_cosine = check_embeddings(vectors, texts)
    if cache is not None:
        log.info("score: %d texts embedded, %d taken from earlier runs", len(computed), len(texts) - len(computed))
        add(cache, texts, vectors, computed, context.work)
    metadata = {
        "key": teach_key,
        "revision": saved.metadata["identity"],
        "tuned": saved.metadata["kept"] == "tuned",
        **describe(teacher),
        **({"sides": saved.metadata["sides"]} if "sides" in saved.metadata else {}),
    }
    return Embedded(vectors, mean_cosine, computed, seconds, metadata, () if cut is None else (cut,))


def _joined(parts: Sequence[Embedded], shares: Sequence[float], path: Path) -> np.ndarray:
    shape = (len(parts[0].vectors), sum(part.vectors.shape[1] for part in parts))
    matrix = create_array(path, shape)
    for rows in blocks(len(matrix), BLOCK_ROWS):
        join([np.asarray(part.vectors[rows]) for part in parts], shares, matrix[rows])
    return matrix
