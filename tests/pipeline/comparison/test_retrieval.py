"""A comparison on pairs that name a catalogue: rows, means and paired differences of retrieval, by another way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from data.errors import FlipkdError
from pipeline.comparison.config import all_jobs, load_comparison
from pipeline.comparison.retrieval import METRICS, queries_of_test, resampled
from pipeline.comparison.statistics import MeasuredStudent, summarise
from pipeline.comparison.students import planned_students
from tests.comparisons import run_planned
from tests.tiny import tiny_config, tiny_faq


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Path, list[MeasuredStudent]]:
    """Two students of a FAQ, compared."""
    folder = tmp_path_factory.mktemp("searched")
    columns = {"text_a": "question", "text_b": "title", "catalogue": "text_b"}
    prepare = {"inputs": [{"kind": "pairs", "path": str(tiny_faq(folder / "faq.csv", queries=9)), **columns}]}
    config = tiny_config(folder, prepare=prepare, export={"candidates": 5, "bootstrap": 100})
    written = config.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(written), "utf-8")
    asked = {
        "datasets": {"tiny": "tiny.yaml"}, "seeds": [1], "resamples": 300,
        "variants": {"flip": {}, "sft": {"distill.objective": "sft"}},
    }  # fmt: skip
    (folder / "compare.yaml").write_text(yaml.safe_dump(asked), "utf-8")
    comparison = load_comparison(folder / "compare.yaml")
    run_planned(comparison, folder / "out")
    planned = planned_students(all_jobs(comparison, None))
    return folder, [MeasuredStudent(one.dataset, one.variant, one.seed, one.folder) for one in planned]


def test_every_student_has_rows_and_a_table(searched: tuple[Path, list[MeasuredStudent]]) -> None:
    folder, students = searched
    rows = pl.read_parquet(folder / "out/comparison.parquet")
    for student in students:
        told = json.loads((student.folder / "retrieval.json").read_text("utf-8"))
        for split in ("dev", "test"):
            for score in ("encoder", "decoder", "fused"):
                found = rows.filter(variant=student.variant, split=split, score=score)
                by_metric = dict(found.select("metric", "value").iter_rows())
                assert {m: by_metric[m] for m in METRICS} == {
                    m: told[split]["scores"][score][m]["value"] for m in METRICS
                }
    assert rows.filter(variant="teacher", metric="ndcg@10", split="test").height == 1
    text = (folder / "out/comparison.md").read_text("utf-8")
    assert "| nDCG@10 | decoder | encoder | fused | best - sft's best | best - teacher |" in text
    assert "| recall@1 | decoder |" in text


def test_differences_are_paired_by_query(searched: tuple[Path, list[MeasuredStudent]]) -> None:
    _, students = searched
    summary = summarise(students, "sft", count=2000, seed=0)
    row = summary.filter(variant="flip", score="encoder", metric="mrr@10", against="sft").row(0, named=True)
    tables = [
        pl.read_parquet(s.folder / "queries.parquet").filter(split="test", score="encoder") for s in students
    ]
    ours, theirs = (table.sort("query_id")["mrr@10"].to_numpy() for table in tables)
    assert row["mean"] == pytest.approx((ours - theirs).mean())
    draw = np.random.default_rng(3)
    gaps = [(ours - theirs)[draw.integers(0, len(ours), len(ours))].mean() for _ in range(4000)]
    low, high = np.percentile(gaps, (2.5, 97.5))
    assert row["low"] == pytest.approx(low, abs=0.2 * (high - low))
    assert row["high"] == pytest.approx(high, abs=0.2 * (high - low))
    teacher = summary.filter(variant="teacher", metric="recall@5", against="").row(0, named=True)
    of_teacher = pl.read_parquet(students[0].folder / "queries.parquet").filter(split="test", score="teacher")
    assert teacher["mean"] == pytest.approx(of_teacher["recall@5"].mean())


def test_queries_of_a_group_are_drawn_together() -> None:
    values = {name: [0.0] * 50 + [1.0] * 50 for name in METRICS}
    rows = {"query_id": range(100), "score": "encoder", **values}
    alone = pl.DataFrame(rows | {"group": [str(n) for n in range(100)]})
    halves = pl.DataFrame(rows | {"group": ["a"] * 50 + ["b"] * 50})
    mean, draws = resampled(halves, 500, 0)["encoder"]["ndcg@10"]
    assert mean == 0.5
    assert set(draws.tolist()) == {0.0, 0.5, 1.0}
    assert resampled(alone, 500, 0)["encoder"]["ndcg@10"][1].std() == pytest.approx(0.05, rel=0.2)


def test_other_queries_are_refused(searched: tuple[Path, list[MeasuredStudent]], tmp_path: Path) -> None:
    _, students = searched
    queries = queries_of_test(students[0].folder)
    assert queries is not None
    assert queries_of_test(tmp_path) is None
    other = tmp_path / "measure/other"
    other.mkdir(parents=True)
    for file in students[1].folder.iterdir():
        if file.is_file():
            (other / file.name).write_bytes(file.read_bytes())
    table = pl.read_parquet(other / "queries.parquet").with_columns(pl.col("query_id") + 1)
    table.write_parquet(other / "queries.parquet")
    changed = [students[0], MeasuredStudent("tiny", "sft", 1, other)]
    with pytest.raises(FlipkdError, match="variant sft was asked other test queries"):
        summarise(changed, "sft", count=100, seed=0)
