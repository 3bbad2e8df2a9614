"""Two nights with a catalogue: what the student in use finds for new queries, against trec_eval."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import pytrec_eval
from sentence_transformers import SentenceTransformer

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.config.nightly import PromoteConfig
from pipeline.promotion.gate import judge, verdict_on
from pipeline.promotion.link import move
from pipeline.promotion.outcome import Outcome, markdown
from pipeline.promotion.paired import compare
from pipeline.promotion.searches import compare_searches
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan
from pipeline.store.store import Store
from tests.tiny import tiny_config, tiny_faq

CANDIDATES = 4


def night(folder: Path, rows: str, seed: int) -> Config:
    file = {"kind": "pairs", "path": str(folder / rows), "text_a": "question", "text_b": "title"}
    return tiny_config(
        folder,
        prepare={"inputs": [file | {"catalogue": "text_b"}]},
        export={"bootstrap": 200, "candidates": CANDIDATES},
        promote={"minimum_pairs": 5, "metric": "ndcg@10"},
    ).model_copy(update={"seed": seed})


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str, str]:
    """The store, and the exports of two nights: the second has more queries to the same titles."""
    folder = tmp_path_factory.mktemp("nights")
    tiny_faq(folder / "more.csv", queries=9)
    with (folder / "more.csv").open(encoding="utf-8") as file:
        head, *rows = list(csv.reader(file))
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *[row for row in rows if not row[0].endswith(("7", "8"))]])
    configs = night(folder, "rows.csv", 1), night(folder, "more.csv", 2)
    store = store_of(configs[0])
    for config in configs:
        for step in plan(config):
            execute(step, config, store)
    first, second = (plan(config)[-1].key for config in configs)
    return store, first, second


def with_score(nights: tuple[Store, str, str], **promote: Any) -> Config:
    config = night(nights[0].root.parent, "more.csv", 2)
    settings = {"minimum_pairs": 5, "metric": "ndcg@10"} | promote
    return config.model_copy(update={"promote": PromoteConfig.model_validate(settings)})


def unseen(store: Store, first: str, second: str) -> dict[str, str]:
    """Test queries of the second night that the first did not train on, id to text."""
    prepared = store.path("prepare", store.manifest("export", first).inputs["prepare"])
    seen = pl.read_parquet(prepared / "pairs.parquet").filter(pl.col("split") != "test")
    runs = store.path("export", second) / "runs"
    asked = {line.split()[0] for line in (runs / "test.qrels").read_text("utf-8").splitlines()}
    texts = {row["_id"]: row["text"] for row in map(json.loads, (runs / "queries.jsonl").open())}
    return {query: texts[query] for query in sorted(asked) if texts[query] not in set(seen["text_a"])}


@pytest.mark.parametrize("score", ["encoder", "decoder", "fused"])
def test_both_students_by_trec_eval(nights: tuple[Store, str, str], score: str) -> None:
    store, first, second = nights
    found = compare_searches(with_score(nights, score=score), store, second, first)
    kept = unseen(store, first, second)
    runs = store.path("export", second) / "runs"
    qrels: dict[str, dict[str, int]] = {query: {} for query in kept}
    total = set()
    for query, _, entry, grade in map(str.split, (runs / "test.qrels").read_text("utf-8").splitlines()):
        total.add(query)
        if query in kept:
            qrels[query][entry] = int(grade)
    assert (found.pairs, found.left_out) == (len(kept), len(total) - len(kept))
    assert found.left_out > 0 < found.pairs
    run: dict[str, dict[str, float]] = {query: {} for query in kept}
    for query, _, entry, _, value, _ in map(str.split, (runs / f"test-{score}.trec").read_text().splitlines()):
        if query in kept:
            run[query][entry] = float(value)
    entries = {row["_id"]: row["text"] for row in map(json.loads, (runs / "entries.jsonl").open())}
    model: Any = SentenceTransformer(
        str(store.path("export", first) / "student"), trust_remote_code=True, device="cpu"
    )
    cosines = model.encode(list(kept.values())) @ model.encode(list(entries.values())).T
    theirs: dict[str, dict[str, float]] = {}
    for query, text, row in zip(kept, kept.values(), cosines, strict=True):
        order = np.argsort(-row, kind="stable")
        if score != "encoder":
            values = model[0].match([(text, list(entries.values())[n]) for n in order[:CANDIDATES]])[score]
            order = np.concatenate([order[np.argsort(-values, kind="stable")], order[CANDIDATES:]])
        theirs[query] = {list(entries)[n]: float(len(entries) - place) for place, n in enumerate(order)}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"})
    new, current = (
        np.mean([one["ndcg_cut_10"] for one in evaluator.evaluate(ranking).values()]) for ranking in (run, theirs)
    )
    assert found.new == pytest.approx(new)
    assert found.current == pytest.approx(current)
    assert found.difference == pytest.approx(new - current)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= new - current <= found.high


def test_it_is_told_in_queries(nights: tuple[Store, str, str]) -> None:
    store, first, second = nights
    config = with_score(nights)
    found = compare_searches(config, store, second, first)
    said = judge(found, config.promote)[1]
    assert f"fused nDCG@10 {found.new:.3f} against" in said
    assert f"on {found.pairs} queries that neither was trained on ({found.left_out} more left out" in said
    page = markdown(Outcome("accepted", "default", second, first, said, found))
    assert "queries compared" in page
    assert "of which" not in page


def test_a_student_does_not_differ_from_itself(nights: tuple[Store, str, str]) -> None:
    store, _, second = nights
    found = compare_searches(with_score(nights, score="decoder"), store, second, second)
    assert found.difference == pytest.approx(0, abs=1e-9)
    assert found.left_out == 0


def test_too_few_queries_give_no_verdict(nights: tuple[Store, str, str]) -> None:
    store, first, second = nights
    found = compare_searches(with_score(nights, minimum_pairs=1000), store, second, first)
    assert found.problem is not None
    assert "test queries are left to compare on, fewer than 1000" in found.problem


def test_without_a_catalogue_it_is_an_error_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"promote\.metric: ndcg@10 needs an input of pairs that names"):
        tiny_config(tmp_path, promote={"metric": "ndcg@10"})


def test_an_export_without_rankings_is_refused(nights: tuple[Store, str, str], tmp_path: Path) -> None:
    store, first, _ = nights
    plain = tiny_config(tmp_path / "plain").model_copy(update={"store": str(store.root)})
    for step in plan(plain):
        execute(step, plain, store)
    key = plan(plain)[-1].key
    with pytest.raises(FlipkdError, match=r"promote\.metric: ndcg@10 takes a catalogue"):
        compare_searches(with_score(nights), store, key, first)


def test_pairs_with_shared_entries_are_compared_too(nights: tuple[Store, str, str]) -> None:
    """Each title stood in the train split of the night before; that is what a catalogue is."""
    store, first, second = nights
    found = compare(with_score(nights, metric="auroc"), store, second, first)
    assert found.problem is None
    test = pl.read_parquet(store.path("export", second) / "predictions.parquet").filter(split="test")
    kept = set(unseen(store, first, second).values())
    assert found.pairs == test.filter(pl.col("text_a").is_in(kept)).height > 5


def test_the_gate_asks_for_it(nights: tuple[Store, str, str]) -> None:
    store, first, second = nights
    move(store, "default", first, "the first", expected=None)
    outcome = verdict_on(with_score(nights, tolerance=1.0), store, second)
    assert outcome.verdict == "accepted"
    assert outcome.comparison is not None
    assert outcome.comparison.unit == "queries"
