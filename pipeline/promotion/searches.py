"""The new student against the one in use as a search: nDCG@10 in the new run's catalogue, query by query.

Asked are the test queries of the new run that the student in use was not trained or tuned on. Queries, entries,
judgements and the new student's rankings lie in its export (`runs/`); the student in use ranks anew.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from data.errors import FlipkdError
from data.texts import fold, text_key
from data.trec import field
from pipeline.config.config import Config
from pipeline.evaluation.retrieval import Order, graded_ndcg, intervals
from pipeline.promotion.paired import Comparison, check_files, entry_columns, learned, load_checked
from pipeline.store.store import Store

METRIC = "ndcg@10"
DEPTH = 10
RUNS = "runs/"


def compare_searches(config: Config, store: Store, new_key: str, current_key: str) -> Comparison:
    """Measure both students on the test queries of the new run that neither was trained or tuned on.

    Args:
        config: `export.candidates` says how many entries the decoder ranks anew; else as in `paired.compare`.

    Raises:
        FlipkdError: the new run has no catalogue, an artifact that takes part is not there or damaged, or the
            student in use cannot be loaded.
    """
    settings = config.promote
    check_files(store, "export", new_key, (RUNS, "predictions.parquet"))
    runs = store.path("export", new_key) / RUNS
    if not (runs / "test.qrels").is_file():
        raise FlipkdError(f"promote.metric: {METRIC} takes a catalogue and test queries that its entries answer")
    texts = {name: _texts(runs / f"{name}.jsonl") for name in ("queries", "entries")}
    place = {name: n for n, name in enumerate(texts["entries"])}
    judged: dict[str, dict[int, int]] = {}
    for query, _, entry, grade in _fields(runs / "test.qrels"):
        judged.setdefault(query, {})[place[entry]] = int(grade)
    groups = _groups(store, new_key)
    kept = _unseen(store, new_key, current_key, {query: texts["queries"][query] for query in judged}, groups)
    found = Comparison(new_key, current_key, settings.score, settings.metric, unit="queries")
    found = replace(found, pairs=len(kept), positives=len(kept), left_out=len(judged) - len(kept))
    if len(kept) < settings.minimum_pairs:
        few = f"{len(kept)} test queries are left to compare on, fewer than {settings.minimum_pairs}"
        return replace(found, problem=few)
    new = _written_order(runs / f"test-{settings.score}.trec", kept, place)
    asked = [texts["queries"][query] for query in kept]
    in_use = _order_in_use(config, store, current_key, asked, list(texts["entries"].values()))
    grades = [judged[query] for query in kept]
    values = {
        name: graded_ndcg(order, grades, DEPTH)[:, None] for name, order in (("new", new), ("in use", in_use))
    }
    together = [groups.get(query, query) for query in asked]
    means, against = intervals(
        values, "in use", config.export.bootstrap, config.seed, metrics=(METRIC,), groups=together
    )
    difference = against["new"][METRIC]
    return replace(
        found,
        scored_again=len(kept),
        new=means["new"][METRIC]["value"],
        current=means["in use"][METRIC]["value"],
        difference=difference["value"],
        low=difference["low"],
        high=difference["high"],
        resamples=config.export.bootstrap,
    )


def _fields(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text("utf-8").splitlines()]


def _texts(path: Path) -> dict[str, str]:
    """Texts by id, as TREC's files write the ids, which have no white space."""
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return {field(row["_id"]): row["text"] for row in rows}


def _groups(store: Store, export: str) -> dict[str, str]:
    """The groups of test queries that have one, by their texts."""
    rows = pl.scan_parquet(store.path("export", export) / "predictions.parquet").filter(split="test")
    named = rows.filter(pl.col("group").is_not_null()).select("text_a", "text_b", "source", "group").collect()
    found: dict[str, str] = {}
    for source, side in entry_columns(store, export).items():
        of_source = named.filter(source=source)
        found |= dict(zip(of_source["text_b" if side == "text_a" else "text_a"], of_source["group"], strict=True))
    return found


def _unseen(
    store: Store, new_key: str, current_key: str, queries: dict[str, str], groups: dict[str, str]
) -> list[str]:
    """The ids of the queries that the student in use was not trained or tuned on."""
    texts, known_groups = learned(store, new_key, current_key)
    return [
        query
        for query, text in queries.items()
        if text_key(text) not in texts and fold(groups.get(text, "")) not in known_groups
    ]


def _written_order(path: Path, queries: list[str], place: dict[str, int]) -> Order:
    """The first entries of each query in a run file, (q, all entries): what it does not hold stands behind."""
    ranked: dict[str, list[int]] = {query: [] for query in queries}
    for query, _, entry, *_ in _fields(path):
        if query in ranked:
            ranked[query].append(place[entry])
    rest = range(len(place))
    return np.array([list(dict.fromkeys([*row, *rest])) for row in ranked.values()])


def _order_in_use(config: Config, store: Store, key: str, queries: list[str], entries: list[str]) -> Order:
    from pipeline.evaluation.search import embedded, student_orders

    student = load_checked(store, key)
    vectors = embedded(student, entries, "embedding the catalogue with the student in use")
    orders = student_orders(
        student,
        (student.decision or {})["fusion"],
        queries,
        entries,
        vectors,
        candidates=config.export.candidates,
        batch_pairs=config.export.batch_pairs,
    )
    return orders[config.promote.score]
