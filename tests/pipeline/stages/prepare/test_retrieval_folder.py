"""Retrieval sets in BEIR's layout and its variants: which files are found, and which split each gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data.errors import FlipkdError
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.expand import expanded, files_of
from pipeline.stages.prepare.input_rows import JudgementsFile, SetTextsFile
from pipeline.stages.prepare.inputs import check_inputs
from tests.tiny import tiny_retrieval


def config_of(folder: Path, **options: Any) -> PrepareConfig:
    return PrepareConfig.model_validate({"inputs": [{"kind": "retrieval", "path": str(folder)} | options]})


def splits_of(folder: Path) -> dict[str, str | None]:
    files = files_of(config_of(folder))
    return {Path(file.path).name: file.split for file in files if isinstance(file, JudgementsFile)}


def test_the_files_of_a_set_have_its_name_and_their_splits(tmp_path: Path) -> None:
    folder = tiny_retrieval(tmp_path / "faq")
    files = files_of(config_of(folder, name="help"))
    assert [file.name for file in files] == [
        "help/corpus.jsonl", "help/queries.jsonl", "help/qrels/train.tsv", "help/qrels/dev.tsv",
        "help/qrels/test.tsv",
    ]  # fmt: skip
    texts = [file for file in files if isinstance(file, SetTextsFile)]
    assert [(file.role, file.id, file.title) for file in texts] == [
        ("entries", "_id", "title"),
        ("queries", "_id", None),
    ]
    assert splits_of(folder) == {"train.tsv": "train", "dev.tsv": "dev", "test.tsv": "test"}


@pytest.mark.parametrize(
    ("there", "splits", "shares"),
    [
        (("train", "test"), {"train": None, "test": "test"}, (0.15, 0)),
        (("train", "dev"), {"train": None, "dev": "dev"}, (0, 0.2)),
        (("train",), {"train": None}, (0.15, 0.2)),
        (("test",), {"test": None}, (0.15, 0.2)),
    ],
)
def test_a_missing_split_takes_queries_of_the_others(
    tmp_path: Path, there: tuple[str, ...], splits: dict[str, str | None], shares: tuple[float, float]
) -> None:
    folder = tiny_retrieval(tmp_path / "faq", splits=there)
    assert splits_of(folder) == {f"{name}.tsv": split for name, split in splits.items()}
    splitting = expanded(config_of(folder)).splitting
    assert (splitting.dev, splitting.test) == shares


def test_parquet_of_the_hub_in_shards(tmp_path: Path) -> None:
    folder = tiny_retrieval(tmp_path / "faq")
    for name in ("corpus", "queries"):
        rows = pl.read_ndjson(folder / f"{name}.jsonl")
        (folder / name).mkdir()
        for shard, part in enumerate((rows[:10], rows[10:])):
            part.write_parquet(folder / f"{name}/{name}-0000{shard}-of-00002.parquet")
        (folder / f"{name}.jsonl").unlink()
    dev = pl.read_csv(folder / "qrels/dev.tsv", separator="\t")
    dev.write_parquet(folder / "qrels/validation-00000-of-00001.parquet")
    (folder / "qrels/dev.tsv").unlink()
    files = files_of(config_of(folder))
    assert [Path(file.path).name for file in files[:4]] == [
        "corpus-00000-of-00002.parquet", "corpus-00001-of-00002.parquet", "queries-00000-of-00002.parquet",
        "queries-00001-of-00002.parquet",
    ]  # fmt: skip
    assert splits_of(folder)["validation-00000-of-00001.parquet"] == "dev"


def test_judgements_as_trec_and_without_a_header(tmp_path: Path) -> None:
    folder = tiny_retrieval(tmp_path / "faq")
    (folder / "qrels/train.tsv").unlink()
    (folder / "qrels/train.txt").write_text("q0 0 d0 1\n", "utf-8")
    (folder / "qrels/dev.tsv").write_text("q1\td1\t1\n", "utf-8")
    train, dev, test = (file for file in files_of(config_of(folder)) if isinstance(file, JudgementsFile))
    assert (train.format, train.column_names) == ("trec", None)
    assert (dev.format, dev.column_names) == ("auto", ["query-id", "corpus-id", "score"])
    assert (test.format, test.column_names) == ("auto", None)


def test_what_a_folder_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"prepare\.inputs\.0: no such folder: .*nowhere.*corpus\.jsonl"):
        files_of(config_of(tmp_path / "nowhere"))
    folder = tiny_retrieval(tmp_path / "faq")
    shutil.copy(folder / "corpus.jsonl", folder / "corpus.ndjson")
    with pytest.raises(FlipkdError, match=r"holds 'corpus\.jsonl', 'corpus\.ndjson'; keep one"):
        files_of(config_of(folder))
    for name in ("corpus.jsonl", "corpus.ndjson"):
        (folder / name).unlink()
    with pytest.raises(FlipkdError, match=r"holds no corpus\.jsonl .* in it are 'qrels', 'queries\.jsonl'"):
        files_of(config_of(folder))
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "1", "text": "x"}), "utf-8")
    shutil.rmtree(folder / "qrels")
    with pytest.raises(FlipkdError, match=r"holds no judgements; expected are qrels/train\.tsv"):
        files_of(config_of(folder))


def test_judgements_with_other_columns_are_told_those_that_they_need(tmp_path: Path) -> None:
    folder = tiny_retrieval(tmp_path / "faq")
    (folder / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tgrade\nq1\td1\t1\n", "utf-8")
    said = r"prepare\.inputs\.0: dev\.tsv: no column 'score'.*have the columns query-id, corpus-id and score"
    with pytest.raises(FlipkdError, match=said):
        check_inputs(config_of(folder))
