"""`retrieve`: how well the student finds the right FAQ entry for a question, beside its teacher.

`pipeline.stages.retrieve.task` says what is asked and what is searched. Five rankings of the same questions:

- `teacher`: by the teacher's cosine (of several teachers the average that `score` takes; without a
  cross-encoder);
- `encoder_untrained`: by the student's encoder before training, A at random and B at 0;
- `encoder`: by the student's encoder;
- `decoder`, `fused`: the encoder's first entries (`retrieve.candidates`), ranked anew by the probability that the
  question and the entry's nearest catalogue question match; the entries behind them stay where they are.

An entry is as near as the nearest of its catalogue questions. Metrics: recall@1, recall@5, MRR@10 and nDCG@10, as
sentence-transformers' `InformationRetrievalEvaluator` computes them. Beside them stands how well the same
questions fall into their entries by themselves, by the vectors of `teacher` and both encoders
(`pipeline.evaluation.clustering`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from data.schema import RETRIEVAL, write_table
from models.runtime.precision import matrix_precision
from models.teacher.bi_encoder import embed
from pipeline.contract.stage import Context
from pipeline.evaluation.bootstrap import Numbers
from pipeline.evaluation.clustering import clustering
from pipeline.evaluation.headline import read_metrics
from pipeline.evaluation.retrieval import (
    Order,
    QueryMetrics,
    Task,
    entry_scores,
    first_ranks,
    intervals,
    nearest_documents,
    ranked,
    reranked,
)
from pipeline.stages.distill.artifact import distilled_student, read_adapter, untrained
from pipeline.stages.retrieve.config import RetrieveConfig
from pipeline.stages.retrieve.task import read_task
from pipeline.stages.retrieve.view import markdown
from pipeline.stages.teach.artifact import teachers_of
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.retrieve")
TEACHER = "teacher"


def run(config: RetrieveConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write `retrieval.json`, `retrieval.md` and `retrieval.parquet` (the columns `RETRIEVAL`, a row a question).

    Raises:
        FlipkdError: there are no utterances, too few entries, or no question; a model cannot be loaded.
    """
    task = read_task(inputs["prepare"], phrasings=config.phrasings, queries=config.queries, seed=context.seed)
    log.info(
        "retrieve: %d of %d questions to %d entries (%d catalogue questions)",
        len(task.queries), task.there, len(task.entries), len(task.documents),
    )  # fmt: skip
    with matrix_precision("fp32"):
        vectors = {TEACHER: _teachers_vectors(task, inputs["teach"])}
        orders = {TEACHER: _ranked(vectors[TEACHER], task)}
        orders |= _by_student(task, config, inputs, context, vectors)
    metrics_of = QueryMetrics(task)
    scores, against = intervals(
        {name: metrics_of(order) for name, order in orders.items()}, TEACHER, config.bootstrap, context.seed
    )
    result = {
        "entries": len(task.entries),
        "catalogue_questions": len(task.documents),
        "queries": len(task.queries),
        "queries_there": task.there,
        "candidates": min(config.candidates, len(task.entries)),
        "scores": scores,
        "against_teacher": against,
        "clustering": _clustered(task, vectors, context.seed),
    }
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "retrieval.json").write_text(text + "\n", encoding="utf-8")
    (out / "retrieval.md").write_text(markdown(result), encoding="utf-8")
    write_table(rows(task, orders).to_arrow(), out / "retrieval.parquet", RETRIEVAL)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    values = {name: {m: found["value"] for m, found in metrics.items()} for name, metrics in scores.items()}
    return {"entries": result["entries"], "queries": result["queries"], "metrics": values}


def rows(task: Task, orders: Mapping[str, Order]) -> pl.DataFrame:
    """A row for each question: the entry that answers it, its rank by every score, and the entry ranked first.

    Where several entries answer it, `entry` is the first of them, and the rank that of the best.
    """
    return pl.DataFrame(
        {
            "query": task.queries,
            "entry": [task.entries[right[0]] for right in task.relevant],
            **{f"{name}_rank": first_ranks(order, task.relevant) for name, order in orders.items()},
            **{f"{name}_first": [task.entries[n] for n in order[:, 0]] for name, order in orders.items()},
        }
    )


def _teachers_vectors(task: Task, teach: Path) -> Numbers:
    """Of several teachers the vectors side by side, so that their cosine is the average by shares."""
    parts = [
        np.sqrt(share) * _vectors(partial(embed, teacher), task, "questions: teacher")
        for teacher, share in teachers_of(teach)
    ]
    return np.concatenate(parts, axis=1)


def _by_student(
    task: Task, config: RetrieveConfig, inputs: Mapping[str, Path], context: Context, vectors: dict[str, Numbers]
) -> dict[str, Order]:
    """The student's rankings.

    Args:
        vectors: gets the encoders'.
    """
    new = untrained(read_adapter(inputs["distill"]), context.seed)
    student = distilled_student(inputs["distill"], context, weights=new)
    vectors["encoder_untrained"] = _vectors(student.embed, task, "questions: untrained encoder")
    orders = {"encoder_untrained": _ranked(vectors["encoder_untrained"], task)}
    del student
    fusion = read_metrics(inputs["measure"])["fusion"]
    student = distilled_student(inputs["distill"], context, {"fusion": fusion})
    vectors["encoder"] = _vectors(student.embed, task, "questions: encoder")
    orders["encoder"] = order = _ranked(vectors["encoder"], task)
    nearest = nearest_documents(_cosines(vectors["encoder"], task), task.starts, order[:, : config.candidates])
    pairs = [(query, task.documents[n]) for query, found in zip(task.queries, nearest, strict=True) for n in found]
    with progress("reranking", len(pairs), "pairs") as advance:
        found = student.match(pairs, config.batch_pairs, advance)
    return orders | {name: reranked(order, found[name].reshape(nearest.shape)) for name in ("decoder", "fused")}


def _vectors(encode: Callable[..., np.ndarray], task: Task, title: str) -> Numbers:
    """Of the queries, then the documents, (queries + documents, width).

    Args:
        encode: texts, and `advance` by keyword, to unit vectors.
    """
    texts: Sequence[str] = [*task.queries, *task.documents]
    with progress(title, len(texts), "texts") as advance:
        return encode(texts, advance=advance).astype(np.float64)


def _cosines(vectors: Numbers, task: Task) -> Numbers:
    """(queries, documents)."""
    return vectors[: len(task.queries)] @ vectors[len(task.queries) :].T


def _ranked(vectors: Numbers, task: Task) -> Order:
    return ranked(entry_scores(_cosines(vectors, task), task.starts))


def _clustered(task: Task, vectors: Mapping[str, Numbers], seed: int) -> dict[str, Any]:
    """The questions that one entry answers, as they fall into clusters; empty where all have the same entry."""
    asked = [n for n, right in enumerate(task.relevant) if len(right) == 1]
    ids = [task.entries[task.relevant[n][0]] for n in asked]
    if len(set(ids)) < 2:
        return {}
    scores = {name: clustering(found[asked], ids, seed) for name, found in vectors.items()}
    return {"questions": len(asked), "clusters": len(set(ids)), "scores": scores}
