"""Teachers with a prompt for each side: what they are given, and a run whose vectors are those of both prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sentence_transformers import SentenceTransformer

from models.teacher.bi_encoder import embed
from models.teacher.sides import NEITHER, Sides, sides_of
from pipeline.config.location import store_of
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan
from tests.tiny import tiny_config, tiny_faq, tiny_teacher

PROMPTS = {"query": "my card please: ", "document": "loan: "}


def prompted(folder: Path, prompts: dict[str, str], default: str | None = None) -> Path:
    """A tiny teacher whose folder holds prompts."""
    path = tiny_teacher(folder)
    teacher = SentenceTransformer(str(path), prompts=prompts, default_prompt_name=default)
    teacher.save_pretrained(str(path))
    return path


def test_texts_are_read_as_encode_query_and_encode_document_read_them(tmp_path: Path) -> None:
    teacher = SentenceTransformer(str(prompted(tmp_path / "teacher", PROMPTS)))
    sides = sides_of(teacher)
    assert sides == Sides(PROMPTS["query"], PROMPTS["document"])
    texts, entries = ["freeze my card", "pay a loan", "child"], {"pay a loan"}
    found = embed(teacher, sides.given(texts, entries))
    queries = teacher.encode_query(texts, normalize_embeddings=True)
    documents = teacher.encode_document(texts, normalize_embeddings=True)
    expected = np.stack([documents[n] if text in entries else queries[n] for n, text in enumerate(texts)])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(queries - documents).max() > 1e-3


@pytest.mark.parametrize(
    ("prompts", "default", "expected"),
    [
        ({}, None, NEITHER),
        ({"passage": "p: ", "corpus": "c: "}, None, Sides("", "p: ")),
        ({"query": "q: "}, None, Sides("q: ", "")),
        ({"query": "q: ", "all": "a: "}, "all", NEITHER),  # one prompt stands before every text
    ],
)  # fmt: skip
def test_prompts_that_a_teacher_may_have(
    tmp_path: Path, prompts: dict[str, str], default: str | None, expected: Sides
) -> None:
    assert sides_of(SentenceTransformer(str(prompted(tmp_path / "t", prompts, default)))) == expected


@pytest.mark.parametrize("asked", ["sides", "default"])
def test_a_run_with_a_catalogue_has_the_vectors_of_both_sides(tmp_path: Path, asked: str) -> None:
    prompted(tmp_path / "teacher", PROMPTS)
    columns: dict[str, Any] = {"text_a": "question", "text_b": "title", "catalogue": "text_b"}
    prepare = {"inputs": [{"kind": "pairs", "path": str(tiny_faq(tmp_path / "faq.csv")), **columns}]}
    config = tiny_config(tmp_path, prepare=prepare, teach={"prompts": asked})
    store, steps = store_of(config), plan(config, "score")
    for step in steps:
        execute(step, config, store)
    folders = {step.stage: store.path(step.stage, step.key) for step in steps}
    told = json.loads((folders["teach"] / "metrics.json").read_text("utf-8"))["teacher"]
    assert told.get("sides") == (PROMPTS if asked == "sides" else None)
    teacher = SentenceTransformer(str(folders["teach"] / "teacher"))
    table = pl.read_parquet(folders["score"] / "embeddings.parquet")
    entries = set(pl.read_parquet(folders["prepare"] / "pairs.parquet")["text_b"])
    encode = {True: teacher.encode_document, False: teacher.encode_query}
    for text, vector in table.select("text", "embedding").iter_rows():
        read = encode[text in entries] if asked == "sides" else teacher.encode
        np.testing.assert_allclose(vector, read(text, normalize_embeddings=True), atol=1e-5)
    # What stands in the files is the text itself.
    assert not table["text"].str.contains("please: ").any()
    pairs = pl.read_parquet(folders["score"] / "scores.parquet")
    assert set(pairs["text_a"]) | set(pairs["text_b"]) == set(table["text"])


def test_what_a_teacher_learns_from_changes_its_key_only_where_a_catalogue_is_named(tmp_path: Path) -> None:
    def key(**changes: Any) -> str:
        config = tiny_config(tmp_path, teach={"prompts": changes.pop("prompts")}, **changes)
        return next(step.key for step in plan(config, "teach") if step.stage == "teach")

    assert key(prompts="sides") == key(prompts="default")
    file = {"kind": "pairs", "path": str(tmp_path / "pairs.csv"), "catalogue": "text_b"}
    prepare = {"inputs": [file]}
    assert key(prompts="sides", prepare=prepare) != key(prompts="default", prepare=prepare)
