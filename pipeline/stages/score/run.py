"""Stage `score`: each distinct text embedded once, and the teacher's similarity of each pair.

Writes `embeddings.parquet` (`text_id`, `text`, `embedding`) and `scores.parquet` (the columns of pairs,
`teacher_score`, `text_a_id`, `text_b_id`). Pairs keep their order. A text is its exact string; `text_id` counts
texts in order of first appearance (first row's `text_a`, its `text_b`, second row's `text_a`, ...), so it depends
on the pairs alone; behind them come the entries of retrieval sets and the training texts that no pair holds (their
ids stand in `texts.parquet`). The file metadata under the key `flipkd` says which teacher wrote the vectors. With
a catalogue, `candidates.parquet` ranks it for each query. `score.mine` adds pairs that the teacher makes of texts.

Texts that this very teacher has embedded in an earlier run are taken from the store (`embedding_cache`). A text's
vector does not depend on the texts beside it (`models.teacher.fixed_shapes`), so on one machine the rows are the
same to the bit with and without the cache, and after a kill.

Several teachers (`teach.others`) give one vector, whose cosine is their weighted average
(`models.teacher.ensemble`). A cross-encoder (`score.cross_encoder`) has no vectors. With u its score on the
cosine's scale (`models.teacher.cross_encoder`), `teacher_score`, which the filter and soft targets read, is (1 -
weight) cosine + weight u; its own score stands in a last column `cross_encoder_score`; similarities of texts stay
the vectors' cosines.

With `teach.folds`, `teacher_score` of a labelled pair of train is that of a teacher which was not tuned on it, and
the last column `in_sample_score` holds the cosine of the vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.schema import (
    CROSS_ENCODER_SCORE,
    IN_SAMPLE_SCORE,
    PAIRS,
    ROW_GROUP_ROWS,
    SCORES,
    TRUNCATED,
    embeddings_schema,
    kept_fields,
    with_metadata,
    writer,
)
from models.teacher.bi_encoder import cosine
from models.teacher.cross_encoder import blend, to_cosine_scale
from pipeline.contract.stage import Context
from pipeline.evaluation.metrics import auroc_by_split
from pipeline.stages.prepare.artifact import catalogue_columns, catalogue_entries, entry_texts, more_texts
from pipeline.stages.score.artifact import MORE_TEXTS
from pipeline.stages.score.candidates import write_candidates
from pipeline.stages.score.checks import check_files, check_scores
from pipeline.stages.score.config import CrossEncoderSettings, ScoreConfig
from pipeline.stages.score.cross_encoder import cross_scores
from pipeline.stages.score.mining import add_mined
from pipeline.stages.score.shards import blocks
from pipeline.stages.score.truncation import count_cut, cut_at_all, warn_of_cut
from pipeline.stages.score.vectors import embed_texts
from pipeline.stages.teach.artifact import out_of_fold

log = logging.getLogger("flipkd.score")
# Vectors are wide: 16,384 of 384 numbers are 24 MB.
EMBEDDING_ROWS = 16_384
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Blended:
    """Scores of n pairs with a cross-encoder's part in them.

    Attributes:
        raw: the cross-encoder's own, (n,), float32.
        scores: `teacher_score`, (n,), float32, in [-1, 1].
        metadata: of the cross-encoder, for the file's metadata and the summary.
    """

    raw: np.ndarray
    scores: np.ndarray
    metadata: dict[str, Any]


def run(config: ScoreConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Embed, score, check, write.

    Raises:
        FlipkdError: there are no pairs, or the teacher's vectors are not numbers, constant or collapsed.
    """
    pairs = inputs["prepare"] / "pairs.parquet"
    entries = catalogue_entries(inputs["prepare"])
    more = more_texts(inputs["prepare"], utterances=config.texts == "all")
    texts = distinct_texts(pairs, [*entries["text"].to_list(), *more])
    if not texts:
        raise FlipkdError(f"score: {pairs} holds no pairs")
    embedded = embed_texts(config, inputs["teach"], texts, context, entry_texts(inputs["prepare"]))
    vectors, metadata = embedded.vectors, {"teacher": embedded.teacher}
    sides = catalogue_columns(inputs["prepare"])
    mined = None
    if config.mine is not None:
        given, pairs = pairs, context.work / "pairs.parquet"
        mined = add_mined(given, pairs, texts, vectors, more, sides, config.mine)
    held_out = _held_out(pairs, inputs["teach"])
    blended = None
    if config.cross_encoder is not None:
        blended = _blended(
            config, config.cross_encoder, pairs, texts, vectors, held_out, context.work / "cross-encoder"
        )
        metadata["cross_encoder"] = blended.metadata
    write_embeddings(out / "embeddings.parquet", texts, vectors, metadata)
    if more:
        write_more_texts(out / MORE_TEXTS, texts, more)
    write_scores(
        out / "scores.parquet", pairs, texts, vectors, metadata, blended, cut_at_all(embedded.cuts), held_out
    )
    check_files(pairs, out / "scores.parquet", out / "embeddings.parquet")
    candidates = None
    if sides and config.candidates:
        candidates = write_candidates(out, sides, entries, vectors, config.candidates)
    truncated = [found for cut in embedded.cuts if (found := count_cut(cut, out / "scores.parquet"))]
    for found in truncated:
        warn_of_cut(found, len(texts))
    return {
        "texts": len(texts),
        **summary(out / "scores.parquet"),
        **({"cross_encoder": blended.metadata} if blended else {}),
        **({"truncated": truncated} if truncated else {}),
        **({"candidates": candidates} if candidates else {}),
        **({"mined": mined} if mined is not None else {}),
        "mean_cosine_of_different_texts": embedded.mean_cosine,
        "texts_embedded": len(embedded.computed),
        "texts_reused": len(texts) - len(embedded.computed),
        "embedding_seconds": round(embedded.seconds, 3),
        "texts_per_second": round(len(texts) / max(embedded.seconds, 1e-9), 1),
    }


def _held_out(pairs: Path, teach: Path) -> np.ndarray | None:
    """The pairs' cosines by teachers that were not tuned on them, float32 (n,); NaN where there is none.

    Returns:
        None without `teach.folds`.
    """
    judged = out_of_fold(teach)
    if judged is None:
        return None
    rows = pl.read_parquet(pairs, columns=["pair_id"])
    found = rows.join(judged, on="pair_id", how="left", maintain_order="left")["teacher_score"]
    return found.fill_null(float("nan")).to_numpy()


def _judged(cosines: np.ndarray, held_out: np.ndarray | None) -> np.ndarray:
    """The cosines of pairs, those out of fold where there are any, (n,)."""
    return cosines if held_out is None else np.where(np.isnan(held_out), cosines, held_out)


def _blended(
    config: ScoreConfig,
    settings: CrossEncoderSettings,
    pairs: Path,
    texts: list[str],
    vectors: np.ndarray,
    held_out: np.ndarray | None,
    folder: Path,
) -> Blended:
    """The pairs' scores with the cross-encoder's part in them, and AUROC by split of what they are made of.

    Raises:
        FlipkdError: the cross-encoder cannot be loaded, or its scores are not numbers or do not vary.
    """
    raw, metadata = cross_scores(settings, pairs, folder, config.shard_texts)
    cosines = np.concatenate([scores for _, scores, _ in _scored(pairs, texts, vectors)])
    cosines = _judged(cosines, held_out)
    rows = pl.read_parquet(pairs, columns=["split", "label"])
    mapped = to_cosine_scale(raw, cosines, (rows["split"] == "train").to_numpy())
    auroc = {"cosine": auroc_by_split(rows, cosines), "cross_encoder": auroc_by_split(rows, raw)}
    return Blended(raw, blend(cosines, mapped, settings.weight), metadata | {"auroc": auroc})


def distinct_texts(pairs: Path, more: Sequence[str] = ()) -> list[str]:
    """The texts of all pairs, and more texts behind them, each once, in order of first appearance."""
    both = pl.concat_list("text_a", "text_b").explode().unique(maintain_order=True)
    of_pairs = pl.scan_parquet(pairs).select(text=both).collect()["text"].to_list()
    return list(dict.fromkeys([*of_pairs, *more])) if more else of_pairs


def write_more_texts(path: Path, texts: list[str], more: Sequence[str]) -> None:
    """Write `texts.parquet`: the `text_id` of training texts that stand in no pair, or not for that alone."""
    place = {text: text_id for text_id, text in enumerate(texts)}
    ids = sorted({place[text] for text in more})
    pl.DataFrame({"text_id": ids}, schema={"text_id": pl.Int64}).write_parquet(path)


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
    path: Path,
    pairs: Path,
    texts: list[str],
    vectors: np.ndarray,
    metadata: Mapping[str, Any],
    blended: Blended | None = None,
    cut: np.ndarray | None = None,
    held_out: np.ndarray | None = None,
) -> None:
    """Write `scores.parquet` a block at a time.

    Args:
        blended: what to write in place of the vectors' cosines.
        cut: which of the texts are longer than the teacher's window, bool (n,); None where none is.
        held_out: from `_held_out`; `blended` has them in it already.

    Raises:
        FlipkdError: the scores do not vary.
    """
    further = {CROSS_ENCODER_SCORE: blended, TRUNCATED: cut, IN_SAMPLE_SCORE: held_out}
    more = [field for field, there in further.items() if there is not None]
    kept = kept_fields(pq.read_schema(pairs))
    schema = with_metadata(pa.schema([*SCORES, *more, *kept]), metadata)
    found: list[np.ndarray] = []
    start = 0
    with writer(path, schema) as file:
        for batch, cosines, ids in _scored(pairs, texts, vectors):
            rows = slice(start, start := start + len(batch))
            apart = None if held_out is None else held_out[rows]
            scores = blended.scores[rows] if blended else _judged(cosines, apart)
            found.append(scores)
            own, carried = batch.columns[: len(PAIRS)], batch.columns[len(PAIRS) :]
            columns = [*own, pa.array(scores), *(pa.array(column) for column in ids)]
            if blended:
                columns.append(pa.array(blended.raw[rows]))
            if cut is not None:
                columns.append(pa.array(cut[ids[0]] | cut[ids[1]]))
            if apart is not None:
                columns.append(pa.array(cosines, mask=np.isnan(apart)))
            file.write_batch(pa.record_batch([*columns, *carried], schema=schema))
    check_scores(np.concatenate(found))


def _scored(
    pairs: Path, texts: list[str], vectors: np.ndarray
) -> Iterator[tuple[pa.RecordBatch, np.ndarray, list[np.ndarray]]]:
    """The columns of pairs and the user's own behind them, a block at a time; cosines; ids of both texts."""
    known = {text: text_id for text_id, text in enumerate(texts)}
    with pq.ParquetFile(pairs) as file:
        names = [*PAIRS.names, *(field.name for field in kept_fields(file.schema_arrow))]
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
    quantiles, means = {}, {}
    for label, name in ((1, "positive"), (0, "negative"), (None, "unlabelled")):
        part = rows.filter(pl.col("label").eq_missing(pl.lit(label, pl.Int8)))["teacher_score"].to_numpy()
        if len(part):
            quantiles[name] = {f"{q:g}": float(np.quantile(part.astype(np.float64), q)) for q in QUANTILES}
            means[name] = float(part.mean(dtype=np.float64))
    return {
        "pairs": len(rows),
        "distinct_share": ids.n_unique() / len(ids),
        "score_mean": means,
        "score_quantiles": quantiles,
        "auroc": auroc_by_split(rows, rows["teacher_score"].to_numpy()),
    }
