"""Retrieval against the catalogue of a real tiny run, judged by trec_eval and by hand."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import pytrec_eval

from data.schema import CATALOGUE, QUERIES
from models.student.load import load_student, score_pairs
from pipeline.evaluation.search import GRADED, METRICS, searched_in
from pipeline.stages.score.artifact import entries_of, queries_and_entries
from tests.tiny import tiny_config, tiny_faq, tiny_retrieval

TREC = {
    "recall@1": "recall_1", "recall@5": "recall_5", "recall@10": "recall_10", "ndcg@10": "ndcg_cut_10",
    "map@100": "map_cut_100",
}  # fmt: skip
CANDIDATES = 5


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    """The artifact of an export whose pairs name a catalogue."""
    from flows.flip import flip

    folder = tmp_path_factory.mktemp("faq")
    columns = {"text_a": "question", "text_b": "title", "catalogue": "text_b"}
    prepare = {"inputs": [{"kind": "pairs", "path": str(tiny_faq(folder / "faq.csv")), **columns}]}
    flip(tiny_config(folder, prepare=prepare, export={"bootstrap": 100, "candidates": CANDIDATES}))
    return next((folder / "store/artifacts/export").glob("*/manifest.json")).parent


def artifact(exported: Path, stage: str) -> Path:
    return next(exported.parents[1].glob(f"{stage}/*/manifest.json")).parent


def read_run(path: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for line in path.read_text("utf-8").splitlines():
        query, _, entry, _, score, _ = line.split()
        found[query][entry] = float(score)
    return found


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for line in path.read_text("utf-8").splitlines():
        query, _, entry, grade = line.split()
        found[query][entry] = int(grade)
    return found


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("score", ["teacher", "encoder", "decoder", "fused"])
def test_trec_eval_gives_the_same_figures(exported: Path, split: str, score: str) -> None:
    told = json.loads((exported / "metrics.json").read_text("utf-8"))["retrieval"][split]["scores"][score]
    run, truth = (
        read_run(exported / f"runs/{split}-{score}.trec"),
        read_judgements(exported / f"runs/{split}.qrels"),
    )
    assert run.keys() == truth.keys()
    by_query = pytrec_eval.RelevanceEvaluator(truth, set(TREC.values()) | {"recip_rank"}).evaluate(run)
    for ours, theirs in TREC.items():
        expected = np.mean([found[theirs] for found in by_query.values()])
        assert told[ours]["value"] == pytest.approx(expected, abs=1e-9), ours
        assert told[ours]["low"] <= expected <= told[ours]["high"]
    first = [found["recip_rank"] for found in by_query.values()]  # of the whole ranking; ours ends at 10
    assert told["mrr@10"]["value"] == pytest.approx(np.mean([rank if rank > 0.0999 else 0 for rank in first]))
    assert set(told) == set(METRICS)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_every_querys_own_figures_are_trec_evals(exported: Path, split: str) -> None:
    assert pq.read_schema(exported / "queries.parquet").equals(QUERIES)
    rows = pl.read_parquet(exported / "queries.parquet").filter(split=split)
    truth = read_judgements(exported / f"runs/{split}.qrels")
    told = json.loads((exported / "retrieval.json").read_text("utf-8"))[split]["scores"]
    for (score,), part in rows.group_by("score"):
        run = read_run(exported / f"runs/{split}-{score}.trec")
        expected = pytrec_eval.RelevanceEvaluator(truth, set(TREC.values())).evaluate(run)
        assert part.height == len(truth)
        for row in part.iter_rows(named=True):
            found = expected[str(row["query_id"])]
            assert [row[ours] for ours in TREC] == pytest.approx([found[theirs] for theirs in TREC.values()])
            assert row["graded_ndcg@10"] is None
        assert part["ndcg@10"].mean() == pytest.approx(told[score]["ndcg@10"]["value"])
    assert rows["score"].n_unique() == 4
    assert not rows["unseen_entry"].any()


def test_queries_of_held_out_entries_are_measured_apart(tmp_path: Path, prefect_server: None) -> None:
    from flows.flip import flip

    columns = {"text_a": "question", "text_b": "title", "catalogue": "text_b"}
    prepare = {
        "inputs": [{"kind": "pairs", "path": str(tiny_faq(tmp_path / "faq.csv", queries=10)), **columns}],
        "splitting": {"entries": "held_out", "dev": 0.25, "test": 0.25}, "max_rejected": 0.5,
    }  # fmt: skip
    measured = {"bootstrap": 100, "candidates": CANDIDATES}
    flip(tiny_config(tmp_path, prepare=prepare, export=measured, distill={"max_length": 4}))
    exported = next((tmp_path / "store/artifacts/export").glob("*/manifest.json")).parent
    pairs = pl.read_parquet(artifact(exported, "prepare") / "pairs.parquet")
    trained = set(pairs.filter(split="train")["text_b"])
    answers = pairs.filter(label=1).group_by("text_a").agg("text_b")
    unseen = {query for query, entries in answers.iter_rows() if trained.isdisjoint(entries)}
    rows = pl.read_parquet(exported / "queries.parquet").filter(split="test", score="encoder")
    assert set(rows.filter("unseen_entry")["query"]) == unseen & set(rows["query"])
    found = json.loads((exported / "retrieval.json").read_text("utf-8"))["test"]
    assert 0 < len(unseen & set(rows["query"])) < rows.height
    parts = {"unseen_entries": rows.filter("unseen_entry"), "seen_entries": rows.filter(~pl.col("unseen_entry"))}
    for name, part in parts.items():
        assert found[name]["queries"] == part.height
        assert found[name]["scores"]["encoder"]["recall@5"]["value"] == pytest.approx(part["recall@5"].mean())
    report = " ".join((exported / "report.html").read_text("utf-8").split())
    assert "encoder, unseen entries" in report
    cut = json.loads((artifact(exported, "distill") / "manifest.json").read_text("utf-8"))["summary"]["truncated"]
    assert f"does not read {cut['train']['tokens']} tokens of {cut['train']['texts']} texts of train" in report
    assert f"{parts['unseen_entries'].height} of them answered by entries alone that no pair of train" in report


def test_every_query_meets_the_whole_catalogue_and_its_own_entry(exported: Path) -> None:
    pairs = pl.read_parquet(artifact(exported, "prepare") / "pairs.parquet")
    texts = {
        name: {row["_id"]: row["text"] for row in map(json.loads, (exported / f"runs/{name}.jsonl").open())}
        for name in ("queries", "entries")
    }
    assert set(texts["entries"].values()) == set(pairs["text_b"])
    right = {(row["text_a"], row["text_b"]) for row in pairs.filter(pl.col("label") == 1).to_dicts()}
    for split in ("dev", "test"):
        truth = read_judgements(exported / f"runs/{split}.qrels")
        assert {texts["queries"][query] for query in truth} == set(pairs.filter(split=split)["text_a"])
        assert all(
            (texts["queries"][q], texts["entries"][e]) in right for q, found in truth.items() for e in found
        )
        run = read_run(exported / f"runs/{split}-encoder.trec")
        assert all(len(found) == len(texts["entries"]) for found in run.values())


def test_the_teachers_ranking_follows_its_vectors(exported: Path) -> None:
    scores = artifact(exported, "score")
    table = duckdb.read_parquet(str(scores / "embeddings.parquet"))
    vectors = dict(table.select("text_id", "embedding").fetchall())
    for query, found in read_run(exported / "runs/test-teacher.trec").items():
        cosines = {entry: float(np.dot(vectors[int(query)], vectors[int(entry)])) for entry in found}
        in_order = sorted(found, key=lambda entry: -found[entry])
        assert all(cosines[a] >= cosines[b] - 1e-6 for a, b in itertools.pairwise(in_order))


def test_the_decoder_ranks_the_encoders_first_anew(exported: Path) -> None:
    student = load_student(exported)
    texts = {
        row["_id"]: row["text"]
        for name in ("queries", "entries")
        for row in map(json.loads, (exported / f"runs/{name}.jsonl").open())
    }
    encoder, decoder = (read_run(exported / f"runs/test-{name}.trec") for name in ("encoder", "decoder"))
    for query in encoder:
        before, after = (sorted(run[query], key=lambda entry: -run[query][entry]) for run in (encoder, decoder))
        assert set(before[:CANDIDATES]) == set(after[:CANDIDATES])
        assert before[CANDIDATES:] == after[CANDIDATES:]
        pairs = [(texts[query], texts[entry]) for entry in after[:CANDIDATES]]
        probabilities = score_pairs(student, pairs, 8)["decoder"]
        assert all(a >= b - 1e-5 for a, b in itertools.pairwise(probabilities))


def test_the_summary_and_the_report_tell_it(exported: Path) -> None:
    told = json.loads((exported / "metrics.json").read_text("utf-8"))["retrieval"]
    assert told == json.loads((exported / "retrieval.json").read_text("utf-8"))
    summary = json.loads((exported / "manifest.json").read_text("utf-8"))["summary"]
    for name, found in told["test"]["scores"].items():
        assert summary["ndcg@10"][name] == pytest.approx(found["ndcg@10"]["value"], abs=5e-5)
    report = (exported / "report.html").read_text("utf-8")
    assert "The right entry of the catalogue, test" in report
    assert f"{told['test']['scores']['fused']['map@100']['value']:.3f}" in report


def test_a_query_without_a_right_entry_is_not_asked_and_queries_are_drawn_by_seed(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "query_id": [0, 0, 2, 4, 5, 6],
            "query": ["a", "a", "b", "c", "d", "e"],
            "entry_id": [1, 3, 1, 3, 1, 3],
            "entry": ["x", "y", "x", "y", "x", "y"],
            "label": [1, 1, 0, 1, None, 1],
            "split": ["test", "test", "test", "test", "test", "dev"],
            "group": [None, None, None, "g", None, "g"],
            "grade": [None] * 6,
        },
        schema_overrides={"grade": pl.Int32, "entry_id": pl.Int64},
    )
    embeddings = tmp_path / "embeddings.parquet"
    pl.DataFrame({"text_id": [0], "text": ["a"]}, schema_overrides={"text_id": pl.Int64}).write_parquet(embeddings)
    entries = entries_of(rows, pl.DataFrame(schema=pl.Schema(CATALOGUE)), embeddings)
    assert entries["name"].null_count() == entries.height == 2
    searched = searched_in(rows, entries, "test", 10, 1)
    assert searched is not None
    assert searched.texts == ["a", "c"]
    assert searched.groups == ["query 0", "g"]
    assert searched.task.entries == ["1", "3"]
    assert searched.task.relevant == [[0, 1], [1]]
    assert searched_in(rows, entries, "train", 10, 1) is None
    drawn = searched_in(rows, entries, "test", 1, 1)
    assert drawn is not None
    assert (len(drawn.texts), drawn.task.there) == (1, 2)


@pytest.fixture(scope="module")
def of_a_set(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Path, Path]:
    """The artifact of an export whose input is a retrieval set with grades, and the set."""
    from flows.flip import flip

    folder = tmp_path_factory.mktemp("set")
    source = tiny_retrieval(folder / "faq", entries=40, queries=30)
    prepare = {
        "inputs": [{"kind": "retrieval", "path": str(source)}],
        "pairs": {"encoder": str(folder / "teacher")},
    }
    distill = {"margins": {"intra_order": "grade"}}
    measured = {"bootstrap": 100, "candidates": CANDIDATES}
    flip(tiny_config(folder, prepare=prepare, export=measured, distill=distill))
    return next((folder / "store/artifacts/export").glob("*/manifest.json")).parent, source


def test_scores_are_held_against_the_grades(of_a_set: tuple[Path, Path]) -> None:
    exported, _ = of_a_set
    told = json.loads((exported / "metrics.json").read_text("utf-8"))["grades"]
    judged = (
        pl.read_parquet(artifact(exported, "prepare") / "pairs.parquet").select("pair_id", "grade").drop_nulls()
    )
    rows = pl.read_parquet(exported / "predictions.parquet").filter(split="test").join(judged, on="pair_id")
    assert rows["grade"].n_unique() > 2
    for score, found in told["test"].items():
        ranks = rows.select(pl.col("grade").rank(), pl.col(score).rank())
        assert found == pytest.approx(np.corrcoef(ranks["grade"], ranks[score])[0, 1], abs=1e-6)
    report = " ".join((exported / "report.html").read_text("utf-8").split())
    assert f"Spearman correlation with the judgements' grades: teacher {told['test']['teacher']:.3f}" in report


@pytest.mark.parametrize("score", ["teacher", "encoder", "decoder", "fused"])
def test_a_sets_own_judgements_give_the_same_figures_by_its_own_ids(
    of_a_set: tuple[Path, Path], score: str
) -> None:
    exported, source = of_a_set
    told = json.loads((exported / "retrieval.json").read_text("utf-8"))["test"]
    assert told["entries"] == 40  # those that no pair holds too
    truth: dict[str, dict[str, int]] = defaultdict(dict)
    for query, entry, grade in pl.read_csv(source / "qrels/test.tsv", separator="\t").iter_rows():
        truth[query][entry] = grade
    run = read_run(exported / f"runs/test-{score}.trec")
    assert run.keys() == truth.keys()
    assert all(len(found) == 40 for found in run.values())
    by_query = pytrec_eval.RelevanceEvaluator(dict(truth), set(TREC.values())).evaluate(run)
    figures = told["scores"][score]
    for ours, theirs in TREC.items():
        name = GRADED if ours == "ndcg@10" else ours
        assert figures[name]["value"] == pytest.approx(np.mean([one[theirs] for one in by_query.values()])), ours
    binary = {query: {entry: int(grade >= 1) for entry, grade in one.items()} for query, one in truth.items()}
    of_binary = pytrec_eval.RelevanceEvaluator(binary, {"ndcg_cut_10"}).evaluate(run)
    expected = np.mean([one["ndcg_cut_10"] for one in of_binary.values()])
    assert figures["ndcg@10"]["value"] == pytest.approx(expected)
    assert read_judgements(exported / "runs/test.qrels") == truth


def test_the_texts_of_a_set_stand_under_its_ids(of_a_set: tuple[Path, Path]) -> None:
    exported, source = of_a_set
    for name, file in (("entries", "corpus"), ("queries", "queries")):
        rows = [json.loads(line) for line in (source / f"{file}.jsonl").read_text("utf-8").splitlines()]
        own = {row["_id"]: " ".join(filter(None, [row.get("title"), row["text"]])) for row in rows}
        written = [json.loads(line) for line in (exported / f"runs/{name}.jsonl").read_text("utf-8").splitlines()]
        assert written
        assert all(own[row["_id"]] == row["text"] for row in written)


def test_pairs_are_turned_whichever_side_the_catalogue_is_on(tmp_path: Path) -> None:
    ids = {"text_a_id": [0, 2], "text_b_id": [1, 3]}
    texts = {"text_a": ["q", "title"], "text_b": ["title", "r"], "source": ["one", "two"]}
    rest = {"label": [1, 0], "split": ["dev", "test"], "group": ["g", None], "pair_id": ["p1", "p2"]}
    pl.DataFrame(ids | texts | rest).write_parquet(tmp_path / "scores.parquet")
    rows = queries_and_entries(tmp_path / "scores.parquet", {"one": "text_b", "two": "text_a"}).sort("query_id")
    assert rows.select("query_id", "query", "entry_id", "entry").rows() == [
        (0, "q", 1, "title"),
        (3, "r", 2, "title"),
    ]
