"""Embedding with forward passes of fixed shapes, so that a text's vector does not depend on the texts beside it.

A matrix product sums in an order that depends on the product's shape, so the last bits of a text's vector (about
2e-7) follow from how many texts stand in its batch and how far they are padded. Here both follow from the text
alone: it is padded to the next multiple of 8 tokens, and the batch has as many rows as make up a fixed number of
tokens; a batch that is not full is filled with copies. Measured on 3,000 bank questions with MiniLM on a CPU, any
subset gives the same bits, and a pass over all of them takes no longer than batches of like length did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer

from models.teacher.bi_encoder import BATCHES_PER_CHUNK, Pool, dimension, embed, prompt_of

PADDING = 8  # tokens; a text's length is rounded up to a multiple
# Tokens per forward pass, for each unit of `batch_size`. On a CPU small passes are as fast as large ones, and
# waste less when not full; a GPU wants large ones.
TOKENS = {"cpu": 8, "cuda": 64}
TEXTS_PER_COUNT = 256


def embed_fixed(
    teacher: SentenceTransformer,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    advance: Callable[[float], None] | None = None,
    pool: Pool | None = None,
) -> np.ndarray:
    """`models.teacher.bi_encoder.embed`, with vectors that do not depend on which texts are embedded together.

    Where the shapes cannot be fixed (the teacher's first module is not a Transformer, or packs texts without
    padding), this is `embed` itself, and vectors differ by rounding.

    Args, Returns: as `embed`; `batch_size` is the number of 8-token texts in a pass (on a GPU of 64-token texts).
    """
    counts = token_counts(teacher, texts)
    if counts is None:
        return embed(teacher, texts, batch_size=batch_size, advance=advance, pool=pool)
    multiple = _multiple(teacher)
    lengths = -(-np.maximum(counts, 1) // multiple) * multiple
    vectors = np.empty((len(texts), dimension(teacher)), dtype=np.float32)
    for length in sorted(set(lengths.tolist()), reverse=True):
        size = rows_per_pass(teacher, length, batch_size)
        alike = np.flatnonzero(lengths == length)
        chunk = size * BATCHES_PER_CHUNK * (len(pool["processes"]) if pool else 1)
        for start in range(0, len(alike), chunk):
            rows = alike[start : start + chunk]
            filled = [texts[int(row)] for row in rows]
            filled += filled[:1] * (-len(filled) % size)
            part = teacher.encode(
                filled,
                batch_size=size,
                pool=pool,
                # Each process gets whole passes.
                chunk_size=size * BATCHES_PER_CHUNK if pool else None,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
                processing_kwargs={"text": {"pad_to_multiple_of": multiple}},
            )
            vectors[rows] = part[: len(rows)]
            if advance is not None:
                advance(len(rows))
    return vectors


def setting(teacher: SentenceTransformer, batch_size: int) -> str:
    """What decides the last bits of a teacher's vectors besides its files: a name for a folder."""
    return f"{teacher.device.type}-{batch_size}"


def rows_per_pass(teacher: SentenceTransformer, length: int, batch_size: int) -> int:
    """Rows of a forward pass of texts of so many tokens, at least 1."""
    return max(1, batch_size * TOKENS.get(teacher.device.type, TOKENS["cuda"]) // length)


def token_counts(teacher: SentenceTransformer, texts: Sequence[str]) -> np.ndarray | None:
    """Tokens of each text as the teacher reads it: with its prompt and special tokens, cut to its maximum length.

    Returns:
        int64 (n,); None where the teacher reads texts in another way than as padded rows.
    """
    first = teacher[0]
    if not isinstance(first, Transformer):
        return None
    prompt = prompt_of(teacher)
    counts = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(texts), TEXTS_PER_COUNT):
        read = teacher.preprocess(list(texts[start : start + TEXTS_PER_COUNT]), prompt=prompt)
        mask = read.get("attention_mask")
        if mask is None or mask.ndim != 2:
            return None
        counts.append(mask.sum(dim=1).numpy().astype(np.int64))
    return np.concatenate(counts)


def _multiple(teacher: SentenceTransformer) -> int:
    """What lengths are rounded up to: a divisor of the maximum length, so that none is passed."""
    return math.gcd(PADDING, teacher.get_max_seq_length() or PADDING)
