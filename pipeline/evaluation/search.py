"""How well the student finds the right entry of a catalogue, beside its teacher: for pairs that name a catalogue.

Asked are the queries of dev and test that an entry answers; searched is the whole catalogue, all entries of all
splits. Four rankings of each query:

- `teacher`: by the cosine of the vectors in `embeddings.parquet`;
- `encoder`: by the student's cosine;
- `decoder`, `fused`: the encoder's first entries (`export.candidates`), ranked anew by the probability that query
  and entry match; the entries behind them stay where they are.

Written are `retrieval.json`, `queries.parquet` with the metrics of every query, and, for other tools, TREC files
(`runs/`): `SPLIT-SCORE.trec` (query, Q0, entry, rank, score, tag; the score only counts down from the top),
`SPLIT.qrels` (query, 0, entry, 1 or the grade), and the texts of both ids in `queries.jsonl` and `entries.jsonl`,
as BEIR has them. An id is the text's `text_id` in `embeddings.parquet`, or the id that a retrieval set gives it.
Where grades say more than yes and no, nDCG by grade is measured too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data.errors import FlipkdError
from data.schema import QUERIES, QUERY_METRICS, write_table
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
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.retrieval")
GRADED = "graded_ndcg@10"
METRICS = tuple(name for name in QUERY_METRICS if name != GRADED)
DEPTH = 1000  # of a run file


@dataclass(frozen=True)
class Search:
    """What a catalogue is asked.

    Attributes:
        rows: pairs as `query_id`, `query`, `entry_id`, `entry`, `label`, `split`, `group`, `grade`; the ids are
            `text_id`s.
        entries: the catalogue, all entries of all splits: `entry_id`, `entry`, `name` (a set's id, or null).
        embeddings: the teacher's vectors, `embeddings.parquet`.
        own_ids: the entries' names and the queries' groups are the ids by which they are written.
    """

    rows: pl.DataFrame
    entries: pl.DataFrame
    embeddings: Path
    own_ids: bool


@dataclass(frozen=True)
class Settings:
    """How a search is measured: fields of `export` in the config, and the seed of what is drawn."""

    queries: int
    candidates: int
    batch_pairs: int
    bootstrap: int
    seed: int


@dataclass(frozen=True)
class Searched:
    """The queries of one split, and the catalogue.

    Attributes:
        task: entries and queries by their `text_id`, as text; `documents` are the entries' texts.
        texts: of the queries, (q,). groups: what is resampled together, a query's group or itself, (q,).
        grades: of each query's judged entries, by the entry's number; all empty without grades.
        unseen: whether no entry that answers the query stands in a pair of train, (q,).
    """

    task: Task
    texts: list[str]
    groups: list[str]
    grades: list[dict[int, int]]
    unseen: np.ndarray


def measure_retrieval(
    student: FlipkdStudent, fusion: dict[str, float], search: Search, out: Path, settings: Settings
) -> dict[str, Any]:
    """Rank the catalogue for the queries of dev and test; write `retrieval.json`, `queries.parquet` and `runs/`.

    Args:
        fusion: of the student's decision.

    Returns:
        By split what `retrieval.json` holds: `queries`, `queries_there`, `entries`, `candidates`, and `scores` and
        `against_teacher`, each `{score: {metric: {"value", "low", "high"}}}`. Where entries are held out, besides
        `seen_entries` and `unseen_entries`: the same of the queries that each answer.
    """
    runs = out / "runs"
    runs.mkdir()
    found: dict[str, Any] = {}
    asked: dict[str, str] = {}
    tables: list[pl.DataFrame] = []
    entries = search.entries
    named = pl.col("name") if search.own_ids else pl.col("entry_id").cast(pl.String)
    names = entries.select(named).to_series().to_list()
    _write_texts(runs / "entries.jsonl", dict(zip(names, entries["entry"], strict=True)))
    vectors = embedded(student, entries["entry"].to_list(), "embedding the catalogue")
    for split in MEASURED:
        searched = searched_in(search.rows, entries, split, settings.queries, settings.seed)
        if searched is None:
            log.warning("no query of %s has an entry that answers it, so retrieval is not measured", split)
            continue
        task = searched.task
        log.info("%d queries of %s to %d entries", len(task.queries), split, len(task.entries))
        orders = {"teacher": ranked(_teacher_cosines(task, search.embeddings))}
        orders |= student_orders(
            student,
            fusion,
            searched.texts,
            task.documents,
            vectors,
            candidates=settings.candidates,
            batch_pairs=settings.batch_pairs,
        )
        metrics, values = _values(searched, orders)
        found[split] = _measured(searched, metrics, values, settings)
        tables += [_query_rows(searched, split, name, metrics, own) for name, own in values.items()]
        queries = searched.groups if search.own_ids else task.queries
        for name, order in orders.items():
            write_run(runs / f"{split}-{name}.trec", queries, names, order, name)
        write_judgements(runs / f"{split}.qrels", queries, names, searched)
        asked |= dict(zip(queries, searched.texts, strict=True))
    _write_texts(runs / "queries.jsonl", asked)
    if tables:
        every_column = pl.DataFrame(schema=pl.Schema(QUERIES))
        table = pl.concat([every_column, *tables], how="diagonal").to_arrow()
        write_table(table, out / "queries.parquet", QUERIES)
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
    trained = set(rows.filter(split="train")["entry_id"])
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
        np.array([trained.isdisjoint(ids) for ids in chosen["entry_id"].to_list()], bool),
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


def _values(searched: Searched, orders: Mapping[str, Order]) -> tuple[tuple[str, ...], dict[str, Numbers]]:
    """The metrics that are measured, and those of each query, (q, metrics), by score."""
    metrics_of = QueryMetrics(searched.task, METRICS)
    values = {name: metrics_of(order) for name, order in orders.items()}
    if not any(grade > 1 for grades in searched.grades for grade in grades.values()):
        return METRICS, values
    graded = {name: graded_ndcg(order, searched.grades, 10) for name, order in orders.items()}
    return (*METRICS, GRADED), {name: np.column_stack([own, graded[name]]) for name, own in values.items()}


def _measured(
    searched: Searched, metrics: Sequence[str], values: Mapping[str, Numbers], settings: Settings
) -> dict[str, Any]:
    task = searched.task

    def of(chosen: np.ndarray) -> dict[str, Any]:
        groups = [group for group, taken in zip(searched.groups, chosen, strict=True) if taken]
        own = {name: found[chosen] for name, found in values.items()}
        scores, against = intervals(
            own, "teacher", settings.bootstrap, settings.seed, metrics=metrics, groups=groups
        )
        return {"queries": int(chosen.sum()), "scores": scores, "against_teacher": against}

    whole = of(np.ones(len(task.queries), bool)) | {
        "queries_there": task.there,
        "entries": len(task.entries),
        "candidates": min(settings.candidates, len(task.entries)),
    }
    unseen = searched.unseen
    if unseen.any() and not unseen.all():
        whole |= {"seen_entries": of(~unseen), "unseen_entries": of(unseen)}
    return whole


def _query_rows(
    searched: Searched, split: str, score: str, metrics: Sequence[str], values: Numbers
) -> pl.DataFrame:
    """The metrics of one score, a row for each query, with columns of `QUERIES`."""
    return pl.DataFrame(
        {
            "query_id": [int(query) for query in searched.task.queries],
            "query": searched.texts,
            "group": searched.groups,
            "split": split,
            "unseen_entry": searched.unseen,
            "score": score,
            **dict(zip(metrics, values.T, strict=True)),
        }
    )


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
