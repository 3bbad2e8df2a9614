"""Stage `score`: each distinct text embedded once, and the teacher's similarity of each pair.

Writes `embeddings.parquet` (`text_id`, `text`, `embedding`) and `scores.parquet` (the columns of pairs,
`teacher_score`, `text_a_id`, `text_b_id`). Pairs keep their order. A text is its exact string; `text_id` counts
texts in order of first appearance (first row's `text_a`, its `text_b`, second row's `text_a`, ...), so it depends
on the pairs alone. The file metadata under the key `flipkd` says which teacher wrote the vectors.

Texts that this very teacher has embedded in an earlier run are taken from the store (`pipeline.embedding_cache`).
A text's vector does not depend on the texts beside it (`models.fixed_shapes`), so on one machine the rows are the
same to the bit with and without the cache, and after a kill.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from data.errors import FlipkdError
from data.schema import ROW_GROUP_ROWS, SCORES, embeddings_schema, with_metadata, writer
from models.fixed_shapes import setting
from models.teacher import cosine, describe, load_teacher
from pipeline.config import ScoreConfig
from pipeline.embedding_cache import add, open_cache
from pipeline.score_checks import check_embeddings, check_files, check_scores
from pipeline.shards import blocks, embed_in_shards
from pipeline.stages import Context

log = logging.getLogger("flipkd.score")
# Vectors are wide: 16,384 of 384 numbers are 24 MB.
EMBEDDING_ROWS = 16_384
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def run(config: ScoreConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Embed, score, check, write.

    Raises:
        FlipkdError: there are no pairs, or the teacher's vectors are not numbers, constant or collapsed.
    """
    pairs = inputs["prepare"] / "pairs.parquet"
    texts = distinct_texts(pairs)
    if not texts:
        raise FlipkdError(f"score: {pairs} holds no pairs")
    told = json.loads((inputs["teach"] / "metrics.json").read_text(encoding="utf-8"))["teacher"]
    folder = inputs["teach"] / "teacher"
    teacher = load_teacher(folder, trust_remote_code=told["trust_remote_code"])
    cache = None
    # A teacher's own code may lie outside of its folder, so the folder's digest does not say what it computes.
    if context.embeddings is not None and not told["trust_remote_code"]:
        how = setting(teacher, config.batch_size)
        cache = open_cache(context.embeddings, folder, inputs["teach"].name, how)
    metadata = {
        "teacher": {
            "key": inputs["teach"].name,
            "revision": told["identity"],
            "tuned": told["kept"] == "tuned",
            **describe(teacher),
        }
    }
    started = time.monotonic()
    vectors, computed = embed_in_shards(
        teacher,
        texts,
        context.work / "shards",
        batch_size=config.batch_size,
        shard_texts=config.shard_texts,
        cache=cache,
    )
    seconds = time.monotonic() - started
    mean_cosine = check_embeddings(vectors, texts)
    if cache is not None:
        log.info("score: %d texts embedded, %d taken from earlier runs", len(computed), len(texts) - len(computed))
        add(cache, texts, vectors, computed, context.work)
    write_embeddings(out / "embeddings.parquet", texts, vectors, metadata)
    write_scores(out / "scores.parquet", pairs, texts, vectors, metadata)
    check_files(pairs, out / "scores.parquet", out / "embeddings.parquet")
    return {
        "texts": len(texts),
        **summary(out / "scores.parquet"),
        "mean_cosine_of_different_texts": mean_cosine,
        "texts_embedded": len(computed),
        "texts_reused": len(texts) - len(computed),
        "embedding_seconds": round(seconds, 3),
        "texts_per_second": round(len(texts) / max(seconds, 1e-9), 1),
    }


def distinct_texts(pairs: Path) -> list[str]:
    """The texts of all pairs, each once, in order of first appearance."""
    both = pl.concat_list("text_a", "text_b").explode().unique(maintain_order=True)
    return pl.scan_parquet(pairs).select(text=both).collect()["text"].to_list()


def write_embeddings(path: Path, texts: list[str], vectors: np.ndarray, metadata: Mapping[str, Any]) -> None:
    """Write `embeddings.parquet` a block at a time.

    Args:
        vectors: (n, d), may be memory-mapped.
    """
    width = vectors.shape[1]
    schema = with_metadata(embeddings_schema(width), metadata)
    with writer(path, schema) as file:
        for rows in blocks(len(texts), EMBEDDING_ROWS):
            flat = pa.array(np.ascontiguousarray(vectors[rows]).reshape(-1))
            columns = [
                pa.array(np.arange(rows.start, rows.stop, dtype=np.int64)),
                pa.array(texts[rows], pa.string()),
                pa.FixedSizeListArray.from_arrays(flat, width),
            ]
            file.write_batch(pa.record_batch(columns, schema=schema))


def write_scores(
    path: Path, pairs: Path, texts: list[str], vectors: np.ndarray, metadata: Mapping[str, Any]
) -> None:
    """Write `scores.parquet` a block at a time.

    Raises:
        FlipkdError: the scores do not vary.
    """
    schema = with_metadata(SCORES, metadata)
    found: list[np.ndarray] = []
    with writer(path, schema) as file:
        for batch, scores, ids in _scored(pairs, texts, vectors):
            found.append(scores)
            columns = [*batch.columns, pa.array(scores), *(pa.array(column) for column in ids)]
            file.write_batch(pa.record_batch(columns, schema=schema))
    check_scores(np.concatenate(found))


def _scored(
    pairs: Path, texts: list[str], vectors: np.ndarray
) -> Iterator[tuple[pa.RecordBatch, np.ndarray, list[np.ndarray]]]:
    known = {text: text_id for text_id, text in enumerate(texts)}
    names = SCORES.names[:-3]
    with pq.ParquetFile(pairs) as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS, columns=names):
            ids = [
                np.fromiter((known[text] for text in batch[side].to_pylist()), dtype=np.int64, count=len(batch))
                for side in ("text_a", "text_b")
            ]
            scores = np.concatenate(
                [
                    cosine(np.asarray(vectors[ids[0][rows]]), np.asarray(vectors[ids[1][rows]]))
                    for rows in blocks(len(batch), EMBEDDING_ROWS)
                ]
            )
            yield batch.select(names), scores, ids


def summary(scores: Path) -> dict[str, Any]:
    """Counts, quantiles by label, and AUROC by split (null where a split lacks a class)."""
    rows = pl.read_parquet(scores, columns=["label", "split", "teacher_score", "text_a_id", "text_b_id"])
    ids = pl.concat([rows["text_a_id"], rows["text_b_id"]])
    quantiles, means, auroc = {}, {}, {}
    for label, name in ((1, "positive"), (0, "negative"), (None, "unlabelled")):
        part = rows.filter(pl.col("label").eq_missing(pl.lit(label, pl.Int8)))["teacher_score"].to_numpy()
        if len(part):
            quantiles[name] = {f"{q:g}": float(np.quantile(part.astype(np.float64), q)) for q in QUANTILES}
            means[name] = float(part.mean(dtype=np.float64))
    for split in ("train", "dev", "test"):
        part = rows.filter((pl.col("split") == split) & pl.col("label").is_not_null())
        both = part["label"].n_unique() == 2
        auroc[split] = float(roc_auc_score(part["label"], part["teacher_score"])) if both else None
    return {
        "pairs": len(rows),
        "distinct_share": ids.n_unique() / len(ids),
        "score_mean": means,
        "score_quantiles": quantiles,
        "auroc": auroc,
    }
