"""How well the student finds the right entry of a catalogue, beside its teacher: for pairs that name a catalogue.

Asked are the queries of dev and test that an entry answers; searched is the whole catalogue, all entries of all
splits. Four rankings of each query:

- `teacher`: by the cosine of the vectors in `embeddings.parquet`;
- `encoder`: by the student's cosine;
- `decoder`, `fused`: the encoder's first entries (`export.candidates`), ranked anew by the probability that query
and
  entry match; the entries behind them stay where they are.

Written are `retrieval.json` and, for other tools, TREC files (`runs/`): `SPLIT-SCORE.trec` (query, Q0, entry,
rank, score, tag; the score only counts down from the top), `SPLIT.qrels` (query, 0, entry, 1), and the texts of
both ids in `queries.jsonl` and `entries.jsonl`, as BEIR has them. An id is the text's `text_id` in
`embeddings.parquet`.
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
from models.runtime.precision import matrix_precision
from models.student.flipkd_student import FlipkdStudent, fused
from models.student.load import score_pairs
from pipeline.evaluation.bootstrap import Numbers
from pipeline.evaluation.decision import MEASURED, SCORES
from pipeline.evaluation.retrieval import Order, QueryMetrics, Task, draw_queries, intervals, ranked, reranked
from pipeline.stages.export.config import ExportConfig
from pipeline.stages.prepare.artifact import catalogue_columns
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.export")
METRICS = ("recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10", "map@100")
DEPTH = 1000  # of a run file


@dataclass(frozen=True)
class Searched:
    """The queries of one split, and the catalogue.

    Attributes:
        task: entries and queries by their `text_id`, as text; `documents` are the entries' texts.
        texts: of the queries, (q,). groups: what is resampled together, a query's group or itself, (q,).
    """

    task: Task
    texts: list[str]
    groups: list[str]


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
    rows = queries_and_entries(inputs["score"] / "scores.parquet", sides)
    runs = out / "runs"
    runs.mkdir()
    found: dict[str, Any] = {}
    asked: dict[str, str] = {}
    entries = entries_of(rows)
    _write_texts(runs / "entries.jsonl", {str(entry_id): text for entry_id, text in entries.iter_rows()})
    vectors = _vectors(student, entries["entry"].to_list(), "embedding the catalogue")
    for split in MEASURED:
        searched = searched_in(rows, entries, split, config.retrieval_queries, seed)
        if searched is None:
            log.warning("export: no query of %s has an entry that answers it, so retrieval is not measured", split)
            continue
        task = searched.task
        log.info("export: %d queries of %s to %d entries", len(task.queries), split, len(task.entries))
        orders = _orders(student, fusion, searched, vectors, inputs["score"] / "embeddings.parquet", config)
        found[split] = _measured(searched, orders, config, seed)
        for name, order in orders.items():
            write_run(runs / f"{split}-{name}.trec", task, order, name)
        write_judgements(runs / f"{split}.qrels", task)
        asked |= dict(zip(task.queries, searched.texts, strict=True))
    _write_texts(runs / "queries.jsonl", asked)
    text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "retrieval.json").write_text(text + "\n", encoding="utf-8")
    return found


def queries_and_entries(scores: Path, sides: Mapping[str, str]) -> pl.DataFrame:
    """Pairs as `query_id`, `query`, `entry_id`, `entry`, `label`, `split`, `group`.

    Args:
        sides: by source, the column that holds the entries.
    """
    parts = []
    for side, other in (("text_a", "text_b"), ("text_b", "text_a")):
        sources = [source for source, own in sides.items() if own == side]
        rows = pl.scan_parquet(scores).filter(pl.col("source").is_in(sources))
        ids = {"query_id": f"{other}_id", "query": other, "entry_id": f"{side}_id", "entry": side}
        parts.append(rows.select("label", "split", "group", **ids))
    return pl.concat(parts).collect()


def entries_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The catalogue, all entries of all splits: `entry_id` and `entry`, each once."""
    return rows.select("entry_id", "entry").unique("entry_id").sort("entry_id")


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
    return Searched(task, chosen["query"].to_list(), groups.to_series().to_list())


def _vectors(student: FlipkdStudent, texts: list[str], title: str) -> Numbers:
    with matrix_precision("fp32"), progress(title, len(texts), "texts") as advance:
        return student.embed(texts, advance=advance).astype(np.float64)


def _orders(
    student: FlipkdStudent,
    fusion: dict[str, float],
    searched: Searched,
    entries: Numbers,
    embeddings: Path,
    config: ExportConfig,
) -> dict[str, Order]:
    """The four rankings.

    Args:
        entries: the student's vectors of the entries, (e, width).
    """
    task = searched.task
    orders = {"teacher": ranked(_teacher_cosines(task, embeddings))}
    orders["encoder"] = order = ranked(_vectors(student, searched.texts, "embedding the queries") @ entries.T)
    first = order[:, : config.candidates]
    pairs = [(query, task.documents[n]) for query, row in zip(searched.texts, first, strict=True) for n in row]
    with progress("reranking", len(pairs), "pairs") as advance:
        scores = score_pairs(student, pairs, config.batch_pairs, advance)
    together = fused(scores["decoder"], scores["encoder"], fusion)
    for name, values in (("decoder", scores["decoder"]), ("fused", together)):
        orders[name] = reranked(order, values.reshape(first.shape))
    return {name: orders[name] for name in SCORES}


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
    scores, against = intervals(values, "teacher", config.bootstrap, seed, metrics=METRICS, groups=searched.groups)
    return {
        "queries": len(task.queries),
        "queries_there": task.there,
        "entries": len(task.entries),
        "candidates": min(config.candidates, len(task.entries)),
        "scores": scores,
        "against_teacher": against,
    }


def write_run(path: Path, task: Task, order: Order, tag: str) -> None:
    """A ranking as TREC has it, the first `DEPTH` entries of each query."""
    with path.open("w", encoding="utf-8") as file:
        for query, row in zip(task.queries, order, strict=True):
            for rank, entry in enumerate(row[:DEPTH], start=1):
                file.write(f"{query} Q0 {task.entries[entry]} {rank} {DEPTH - rank} {tag}\n")


def write_judgements(path: Path, task: Task) -> None:
    """Which entries answer each query, as TREC has it."""
    with path.open("w", encoding="utf-8") as file:
        for query, relevant in zip(task.queries, task.relevant, strict=True):
            file.writelines(f"{query} 0 {task.entries[entry]} 1\n" for entry in relevant)


def _write_texts(path: Path, texts: Mapping[str, str]) -> None:
    lines = [json.dumps({"_id": text_id, "text": text}, ensure_ascii=False) for text_id, text in texts.items()]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def ndcg(found: Mapping[str, Any]) -> dict[str, float]:
    """nDCG@10 of each score on the last split that was measured, test if there is one."""
    last = found[list(found)[-1]]["scores"]
    return {name: round(last[name]["ndcg@10"]["value"], 4) for name in SCORES}
