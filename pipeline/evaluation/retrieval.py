"""Rankings of a catalogue's entries and their metrics, sentence-transformers' own, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sklearn.metrics import ndcg_score

from pipeline.evaluation.bootstrap import PERCENTILES, Numbers, resamples

METRICS = ("recall@1", "recall@5", "mrr@10", "ndcg@10")
# Names of METRICS in the evaluator's words: the option that asks for them.
_OPTIONS = {"recall": "precision_recall_at_k", "mrr": "mrr_at_k", "ndcg": "ndcg_at_k", "map": "map_at_k"}
Order = NDArray[np.integer]


@dataclass(frozen=True)
class Task:
    """What is searched, and what is asked.

    Attributes:
        entries: ids of the catalogue's entries, (e,).
        documents: the texts that are searched, entry by entry, (d,). starts: where each entry's begin, (e,).
        queries: the questions, (q,). relevant: the numbers of the entries that answer each, one or more.
        there: how many questions there are; `queries` may be drawn from them.
    """

    entries: list[str]
    documents: list[str]
    starts: np.ndarray
    queries: list[str]
    relevant: list[list[int]]
    there: int


def entry_scores(scores: Numbers, starts: Order) -> Numbers:
    """(q, documents) to (q, entries): an entry is as near as its nearest catalogue question.

    Args:
        starts: where each entry's documents begin.
    """
    return np.maximum.reduceat(scores, starts, axis=1)


def nearest_documents(scores: Numbers, starts: Order, order: Order) -> Order:
    """For some entries of each query the document of theirs that is nearest to it, of the shape of `order`.

    Args:
        scores: (q, documents). order: numbers of entries, (q, candidates).
    """
    ends = np.append(starts[1:], scores.shape[1])
    nearest = [starts + [row[a:b].argmax() for a, b in zip(starts, ends, strict=True)] for row in scores]
    return np.take_along_axis(np.array(nearest), order, axis=1)


def ranked(scores: Numbers) -> Order:
    """Entries of each query, best first, (q, entries); equals in the order of their ids, as in the evaluator."""
    return np.argsort(-scores, axis=1, kind="stable")


def reranked(order: Order, scores: Numbers) -> Order:
    """A ranking whose first places are dealt out anew; equals keep their order, what lies behind its place.

    Args:
        order: (q, entries). scores: of the first of them, (q, candidates), best is highest.
    """
    count = scores.shape[1]
    again = np.take_along_axis(order[:, :count], np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return np.concatenate([again, order[:, count:]], axis=1)


def first_ranks(order: Order, relevant: list[list[int]]) -> list[int]:
    """For each query the rank, from 1, of the first entry that answers it."""
    return [int(np.isin(row, right).argmax()) + 1 for row, right in zip(order, relevant, strict=True)]


class QueryMetrics:
    """Metrics of each query apart, for the bootstrap: an evaluator of sentence-transformers for each.

    Their mean over the queries is what one evaluator of all queries gives.

    Args:
        metrics: `recall@K`, `mrr@K`, `ndcg@K`, `map@K`.
    """

    def __init__(self, task: Task, metrics: Sequence[str] = METRICS):
        self.metrics = [(name, int(k)) for name, k in (metric.split("@") for metric in metrics)]
        corpus = dict.fromkeys(task.entries, "")  # the rankings are given, so no text is read
        depths = {
            option: sorted({k for name, k in self.metrics if _OPTIONS[name] == option} or {1})
            for option in _OPTIONS.values()
        }
        options: dict[str, Any] = {"accuracy_at_k": [1], **depths}
        self._depth = max(k for _, k in self.metrics)
        self._entries = task.entries
        self._evaluators = [
            InformationRetrievalEvaluator(
                {"query": text}, corpus, {"query": {task.entries[n] for n in right}}, **options
            )
            for text, right in zip(task.queries, task.relevant, strict=True)
        ]

    def __call__(self, order: Order) -> Numbers:
        """(q, metrics) of a ranking (q, entries)."""
        return np.array([self._of(*one) for one in zip(self._evaluators, order, strict=True)])

    def _of(self, evaluator: InformationRetrievalEvaluator, order: Order) -> list[float]:
        hits = [{"corpus_id": self._entries[n], "score": -place} for place, n in enumerate(order[: self._depth])]
        found = evaluator.compute_metrics([hits])
        return [float(found[f"{name}@k"][k]) for name, k in self.metrics]


def graded_ndcg(order: Order, grades: Sequence[Mapping[int, int]], k: int) -> Numbers:
    """nDCG at `k` of each query by the grades of its entries, (q,): linear gains, as trec_eval has them.

    Args:
        order: (q, entries). grades: of each query's judged entries, by their numbers; those not judged, and grades
            below 0, count 0. A query without a grade above 0 gets 0.
    """
    found = []
    for row, judged in zip(order, grades, strict=True):
        gains = np.zeros((1, len(row)))
        for entry, grade in judged.items():
            gains[0, entry] = max(grade, 0)
        places = np.empty((1, len(row)))
        places[0, row] = -np.arange(len(row))
        found.append(ndcg_score(gains, places, k=k) if gains.any() else 0.0)
    return np.array(found)


def intervals(
    values: Mapping[str, Numbers],
    against: str,
    count: int,
    seed: int,
    *,
    metrics: Sequence[str] = METRICS,
    groups: Sequence[Any] | None = None,
) -> tuple[dict, dict]:
    """Means over the queries with 95 % bootstrap intervals, and differences from one of the scores.

    Every score sees the same resamples of the queries.

    Args:
        values: (q, metrics) of each score. against: the score whose values are taken off.
        metrics: the names of the columns.
        groups: (q,), what is drawn in place of single queries: the queries of a group come and go together.

    Returns:
        `{score: {metric: {"value", "low", "high"}}}`, twice.
    """
    queries = len(values[against])
    _, group = np.unique(np.arange(queries) if groups is None else np.asarray(groups), return_inverse=True)
    weights = np.concatenate(list(resamples(np.zeros(queries, np.int64), count, seed, group)))

    def estimates(values: Numbers) -> dict[str, dict[str, float]]:
        means = weights @ values / weights.sum(1, keepdims=True)
        low, high = np.percentile(means, PERCENTILES, axis=0)
        parts = zip(metrics, values.mean(0), low, high, strict=True)
        return {name: {"value": float(v), "low": float(lo), "high": float(hi)} for name, v, lo, hi in parts}

    others = {name: estimates(found - values[against]) for name, found in values.items() if name != against}
    return {name: estimates(found) for name, found in values.items()}, others


def draw_queries(there: int, most: int, seed: int) -> NDArray[np.integer]:
    """Which of the questions are asked, in their order: all of them, or so many at random."""
    if there <= most:
        return np.arange(there)
    return np.sort(np.random.default_rng(seed).choice(there, most, replace=False))
