"""How well the student finds the right entry of a catalogue, beside its teacher: for pairs that name a catalogue.

Asked are the queries of dev and test that an entry answers; searched is the whole catalogue, all entries of all
splits. Four rankings of each query:

- `teacher`: by the cosine of the vectors in `embeddings.parquet`;
- `encoder`: by the student's cosine;
- `decoder`, `fused`: the encoder's first entries (`export.candidates`), ranked anew by the probability that query
  and entry match; the entries behind them stay where they are.

Written are `retrieval.json` and, for other tools, TREC files (`runs/`): `SPLIT-SCORE.trec` (query, Q0, entry,
rank, score, tag; the score only counts down from the top), `SPLIT.qrels` (query, 0, entry, 1 or the grade), and
the texts of both ids in `queries.jsonl` and `entries.jsonl`, as BEIR has them. An id is the text's `text_id` in
`embeddings.parquet`, or the id that a retrieval set gives it. Where grades say more than yes and no, nDCG by grade
is measured too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data.errors import FlipkdError
from data.trec import field
from models.runtime.precision import matrix_precision
from models.student.flipkd_student import FlipkdStudent, fused
from models.student.load import score_pairs
from pipeline.evaluation.bootstrap import Numbers
from pipeline.evaluation.decision import MEASURED, SCORES
from pipeline.evaluation.retrieval import (
    Order,
    QueryMetrics,
    Task,
    draw_queries,
    graded_ndcg,
    intervals,
    ranked,
    reranked,
)
from pipeline.stages.export.config import ExportConfig
from pipeline.stages.prepare.artifact import catalogue_columns, catalogue_entries, grades, has_own_ids
from pipeline.stages.score.artifact import entries_of, queries_and_entries
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.export")
METRICS = ("recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10", "map@100")
GRADED = "graded_ndcg@10"
DEPTH = 1000  # of a run file


@dataclass(frozen=True)
class Searched:
    """The queries of one split, and the catalogue.

    Attributes:
        task: entries and queries by their `text_id`, as text; `documents` are the entries' texts.
        texts: of the queries, (q,). groups: what is resampled together, a query's group or itself, (q,).
        grades: of each query's judged entries, by the entry's number; all empty without grades.
    """

    task: Task
    texts: list[str]
    groups: list[str]
    grades: list[dict[int, int]]


def measure_retrieval(
    student: FlipkdStudent,
    fusion: dict[str, float],
    inputs: Mapping[str, Path],
    out: Path,
    config: ExportConfig,
    seed: int,
) -> dict[str, Any]:
    """Rank the catalogue for the queries of dev and test; write `retrieval.json` and `runs/`.

    Args:
        fusion: of the student's decision.

    Returns:
        By split what `retrieval.json` holds: `queries`, `queries_there`, `entries`, `candidates`, and `scores` and
        `against_teacher`, each `{score: {metric: {"value", "low", "high"}}}`. Empty if no input names a catalogue.
    """
    sides = catalogue_columns(inputs["prepare"])
    if not sides:
        return {}
    prepared, embeddings = inputs["prepare"], inputs["score"] / "embeddings.parquet"
    rows = queries_and_entries(inputs["score"] / "scores.parquet", sides, grades(prepared))
    own_ids = has_own_ids(prepared)
    runs = out / "runs"
    runs.mkdir()
    found: dict[str, Any] = {}
    asked: dict[str, str] = {}
    entries = entries_of(rows, catalogue_entries(prepared), embeddings)
    names = entries.select(pl.col("name") if own_ids else pl.col("entry_id").cast(pl.String)).to_series().to_list()
    _write_texts(runs / "entries.jsonl", dict(zip(names, entries["entry"], strict=True)))
    vectors = embedded(student, entries["entry"].to_list(), "embedding the catalogue")
    for split in MEASURED:
        searched = searched_in(rows, entries, split, config.retrieval_queries, seed)
        if searched is None:
            log.warning("export: no query of %s has an entry that answers it, so retrieval is not measured", split)
            continue
        task = searched.task
        log.info("export: %d queries of %s to %d entries", len(task.queries), split, len(task.entries))
        orders = {"teacher": ranked(_teacher_cosines(task, embeddings))}
        orders |= student_orders(
            student,
            fusion,
            searched.texts,
            task.documents,
            vectors,
            candidates=config.candidates,
            batch_pairs=config.batch_pairs,
        )
        found[split] = _measured(searched, orders, config, seed)
        queries = searched.groups if own_ids else task.queries
        for name, order in orders.items():
            write_run(runs / f"{split}-{name}.trec", queries, names, order, name)
        write_judgements(runs / f"{split}.qrels", queries, names, searched)
        asked |= dict(zip(queries, searched.texts, strict=True))
    _write_texts(runs / "queries.jsonl", asked)
    text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "retrieval.json").write_text(text + "\n", encoding="utf-8")
    return found


def searched_in(rows: pl.DataFrame, entries: pl.DataFrame, split: str, most: int, seed: int) -> Searched | None:
    """The queries of a split that an entry answers, against all entries; None where there are none.

    Args:
        rows: from `queries_and_entries`. entries: from `entries_of`. most: of queries, drawn by `seed`.
    """
    number = {entry: place for place, entry in enumerate(entries["entry_id"].to_list())}
    asked = (
        rows.filter(pl.col("split") == split, pl.col("label") == 1)
        .group_by("query_id")
        .agg(pl.col("query").first(), pl.col("group").first(), pl.col("entry_id").unique().sort())
        .sort("query_id")
    )
    if asked.is_empty():
        return None
    chosen = asked[draw_queries(asked.height, most, seed)]
    task = Task(
        [str(entry) for entry in entries["entry_id"]],
        entries["entry"].to_list(),
        np.arange(entries.height),
        [str(query) for query in chosen["query_id"]],
        [[number[entry] for entry in ids] for ids in chosen["entry_id"]],
        asked.height,
    )
    groups = chosen.select(pl.coalesce("group", pl.format("query {}", "query_id")))
    graded: dict[int, dict[int, int]] = {}
    of_split = rows.filter(pl.col("split") == split, pl.col("grade").is_not_null())
    for query, entry, grade in of_split.select("query_id", "entry_id", "grade").iter_rows():
        graded.setdefault(query, {})[number[entry]] = grade
    return Searched(
        task,
        chosen["query"].to_list(),
        groups.to_series().to_list(),
        [graded.get(query, {}) for query in chosen["query_id"]],
    )


def embedded(student: FlipkdStudent, texts: list[str], title: str) -> Numbers:
    """The student's vectors, (n, width), float64."""
    with matrix_precision("fp32"), progress(title, len(texts), "texts") as advance:
        return student.embed(texts, advance=advance).astype(np.float64)


def student_orders(
    student: FlipkdStudent,
    fusion: dict[str, float],
    queries: list[str],
    entries: list[str],
    vectors: Numbers,
    *,
    candidates: int,
    batch_pairs: int,
) -> dict[str, Order]:
    """A student's rankings of some entries for some queries: `encoder`, `decoder` and `fused`.

    Args:
        vectors: of the entries, from `embedded`.
        candidates: how many of the encoder's first entries are ranked anew by the others.
    """
    order = ranked(embedded(student, queries, "embedding the queries") @ vectors.T)
    first = order[:, :candidates]
    pairs = [(query, entries[n]) for query, row in zip(queries, first, strict=True) for n in row]
    with progress("reranking", len(pairs), "pairs") as advance:
        scores = score_pairs(student, pairs, batch_pairs, advance)
    scores["fused"] = fused(scores["decoder"], scores["encoder"], fusion)
    again = {name: reranked(order, scores[name].reshape(first.shape)) for name in ("decoder", "fused")}
    return {"encoder": order, **again}


def _teacher_cosines(task: Task, embeddings: Path) -> Numbers:
    wanted = [int(text_id) for text_id in (*task.queries, *task.entries)]
    table = pl.scan_parquet(embeddings).filter(pl.col("text_id").is_in(sorted(set(wanted)))).collect()
    if table.height != len(set(wanted)):
        raise FlipkdError(f"{embeddings}: lacks texts that the scores name; run score again")
    place = {text_id: row for row, text_id in enumerate(table["text_id"].to_list())}
    vectors = table["embedding"].to_numpy().astype(np.float64)[[place[text_id] for text_id in wanted]]
    return vectors[: len(task.queries)] @ vectors[len(task.queries) :].T


def _measured(searched: Searched, orders: Mapping[str, Order], config: ExportConfig, seed: int) -> dict[str, Any]:
    task = searched.task
    metrics_of = QueryMetrics(task, METRICS)
    values = {name: metrics_of(order) for name, order in orders.items()}
    metrics = METRICS
    if any(grade > 1 for grades in searched.grades for grade in grades.values()):
        metrics = (*METRICS, GRADED)
        values = {
            name: np.column_stack([found, graded_ndcg(orders[name], searched.grades, 10)])
            for name, found in values.items()
        }
    scores, against = intervals(values, "teacher", config.bootstrap, seed, metrics=metrics, groups=searched.groups)
    return {
        "queries": len(task.queries),
        "queries_there": task.there,
        "entries": len(task.entries),
        "candidates": min(config.candidates, len(task.entries)),
        "scores": scores,
        "against_teacher": against,
    }


def write_run(path: Path, queries: list[str], entries: list[str], order: Order, tag: str) -> None:
    """A ranking as TREC has it, the first `DEPTH` entries of each query; an id's white space becomes `_`."""
    with path.open("w", encoding="utf-8") as file:
        for query, row in zip(queries, order, strict=True):
            for rank, entry in enumerate(row[:DEPTH], start=1):
                file.write(f"{field(query)} Q0 {field(entries[entry])} {rank} {DEPTH - rank} {tag}\n")


def write_judgements(path: Path, queries: list[str], entries: list[str], searched: Searched) -> None:
    """Which entries answer each query, or how every entry was judged, as TREC has it."""
    with path.open("w", encoding="utf-8") as file:
        for query, relevant, judged in zip(queries, searched.task.relevant, searched.grades, strict=True):
            grades = dict.fromkeys(relevant, 1) | judged
            file.writelines(f"{field(query)} 0 {field(entries[n])} {grade}\n" for n, grade in grades.items())


def _write_texts(path: Path, texts: Mapping[str, str]) -> None:
    lines = [json.dumps({"_id": text_id, "text": text}, ensure_ascii=False) for text_id, text in texts.items()]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def ndcg(found: Mapping[str, Any]) -> dict[str, float]:
    """nDCG@10 of each score on the last split that was measured, test if there is one."""
    last = found[list(found)[-1]]["scores"]
    return {name: round(last[name]["ndcg@10"]["value"], 4) for name in SCORES}
