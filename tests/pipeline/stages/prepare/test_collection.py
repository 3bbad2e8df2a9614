"""Retrieval sets through `prepare`: where every row ends, grades, splits by query, and Cranfield."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.stages.prepare.artifact import labelled_texts
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.run import prepare
from tests.checkout import REAL_DATA
from tests.pipeline.stages.prepare.test_run import encoder
from tests.stores import write_manifest
from tests.tiny import tiny_retrieval


def prepared(folder: Path, source: Path, seed: int = 1, **options: Any) -> tuple[dict[str, Any], Path]:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    file = {"kind": "retrieval", "path": str(source)} | options.pop("input", {})
    config = PrepareConfig.model_validate({"inputs": [file]} | options)
    return prepare(config, out, seed, encoder, folder / "scratch"), out


def add(path: Path, *rows: dict[str, Any] | str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_every_row_ends_in_one_place_and_says_why(tmp_path: Path) -> None:
    source = tiny_retrieval(tmp_path / "faq")
    add(source / "corpus.jsonl", {"_id": "d0", "text": "twice"}, {"title": "no id", "text": "no id"},
        {"_id": "empty", "title": "", "text": None}, {"_id": "title alone", "title": "a title", "text": None},
        {"_id": "number", "text": 7})  # fmt: skip
    add(source / "queries.jsonl", {"_id": "q0", "text": "twice"}, {"_id": "unasked", "text": "nobody judged me"},
        {"_id": "q99", "text": " "})  # fmt: skip
    add(source / "qrels/train.tsv", "q0\td0\t2", "q0\tnowhere\t1", "nobody\td0\t1", "q0\td5\tgood", "q99\td0\t1",
        "q0\ttitle alone\t1", "q0\td6\t1.0", "\td1\t1")  # fmt: skip
    summary, out = prepared(tmp_path, source, max_rejected=0.5)
    rejects = pl.read_parquet(out / "rejects.parquet")
    by_file = {
        name: dict(part.select("source_row", "reason").iter_rows()) for (name,), part in rejects.group_by("source")
    }
    assert by_file == {
        "faq/corpus.jsonl": {25: "repeated_id", 26: "missing_id", 27: "missing_text", 29: "text_not_a_string"},
        "faq/queries.jsonl": {19: "repeated_id", 20: "not_judged", 21: "missing_text"},
        "faq/qrels/train.tsv": {
            19: "duplicate", 20: "unknown_entry", 21: "unknown_query", 22: "bad_grade", 23: "unknown_query",
            26: "missing_id",
        },
    }  # fmt: skip
    assert json.loads(rejects.filter(reason="bad_grade")["raw"].item()) == {
        "query-id": "q0", "corpus-id": "d5", "score": "good",
    }  # fmt: skip
    rows = summary["rows"]
    assert rows["read"] == 29 + 21 + 3 * 18 + 8
    assert rows["read"] == rows["pairs"] + rows["texts"] + rows["rejected"]
    pairs = pl.read_parquet(out / "pairs.parquet")
    given = pairs.filter(pl.col("grade").is_not_null())
    assert given.height == rows["pairs"] == 3 * 18 + 2
    assert given.filter(text_b="a title")["grade"].item() == 1


def test_grades_labels_and_the_whole_catalogue(tmp_path: Path) -> None:
    source = tiny_retrieval(tmp_path / "faq")
    documents = {row["_id"]: row for row in pl.read_ndjson(source / "corpus.jsonl").to_dicts()}
    queries = {row["_id"]: row["text"] for row in pl.read_ndjson(source / "queries.jsonl").to_dicts()}
    judged = {
        (queries[query], f"{documents[entry]['title']} {documents[entry]['text']}"): (int(grade), split)
        for split in ("train", "dev", "test")
        for query, entry, grade in pl.read_csv(source / f"qrels/{split}.tsv", separator="\t").iter_rows()
    }
    _, out = prepared(tmp_path, source, input={"relevant_from": 2})
    pairs = pl.read_parquet(out / "pairs.parquet")
    given = pairs.filter(pl.col("grade").is_not_null())
    found = {(row["text_a"], row["text_b"]): row for row in given.to_dicts()}
    assert {key: (row["grade"], row["split"]) for key, row in found.items()} == judged
    assert all(row["label"] == (row["grade"] >= 2) for row in found.values())
    assert all(queries[row["group"]] == row["text_a"] for row in found.values())
    catalogue = pl.read_parquet(out / "catalogue.parquet")
    assert catalogue["entry_id"].to_list() == list(documents)
    assert catalogue["source"].unique().to_list() == ["faq"]
    assert catalogue["text"][3] == f"{documents['d3']['title']} {documents['d3']['text']}"


def test_splits_that_no_file_gives_are_made_by_query(tmp_path: Path) -> None:
    source = tiny_retrieval(tmp_path / "faq", entries=40, queries=60, splits=("train", "test"))
    summary, out = prepared(tmp_path, source, splitting={"dev": 0.2, "test": 0.5})
    pairs = pl.read_parquet(out / "pairs.parquet")
    by_query = pairs.select("group", "text_a", "split").unique()
    assert by_query["group"].is_unique().all()
    assert by_query["text_a"].is_unique().all()
    queries = {split: set(part["group"]) for (split,), part in by_query.group_by("split")}
    assert queries["test"] == {f"q{n}" for n in range(1, 60, 2)}  # those of test.tsv, and no other
    assert 3 <= len(queries["dev"]) <= 9
    seen = summary["catalogue"]["faq/qrels/test.tsv"]["splits"]["test"]
    given = pairs.filter(pl.col("grade").is_not_null())
    trained, tested = (set(given.filter(split=split)["text_b"]) for split in ("train", "test"))
    assert seen == {"entries": len(tested), "unseen_entries": len(tested - trained)}


def test_what_matches_by_the_judgements_of_one_entry_is_told_to_the_teacher(tmp_path: Path) -> None:
    source = tiny_retrieval(tmp_path / "faq")
    summary, out = prepared(tmp_path, source, input={"relevant_from": 2})
    write_manifest(out, "prepare", {}, summary)
    texts = labelled_texts(out)
    train = pl.read_parquet(out / "pairs.parquet").filter(split="train", label=1)
    assert set(texts["text"]) == set(train["text_a"]) | set(train["text_b"])


@pytest.mark.skipif(not (REAL_DATA / "cranfield").is_dir(), reason="the Cranfield set is not here")
def test_cranfield_as_it_comes(tmp_path: Path) -> None:
    summary, out = prepared(tmp_path, REAL_DATA / "cranfield", max_characters=5000)
    assert summary["rejected"] == {"not_judged": 75, "missing_text": 2, "unknown_entry": 1}
    assert summary["rows"]["texts"] == 1398 + 150
    pairs = pl.read_parquet(out / "pairs.parquet")
    judged = pairs.filter(pl.col("grade").is_not_null())
    assert judged.height == 1153
    assert judged["grade"].max() == 3
    assert judged.filter(split="dev")["group"].cast(pl.Int64).is_between(111, 150).all()
    assert pl.read_parquet(out / "catalogue.parquet").height == 1398
