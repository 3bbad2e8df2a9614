"""Scoring files with a saved student: any format, every column kept, the numbers of the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from data.schema import read_metadata
from pipeline.stages.export.predict import predict


@pytest.fixture(scope="session")
def exported(tiny_run: Path) -> Path:
    return next(path.parent for path in (tiny_run / "store/artifacts/export").glob("*/manifest.json"))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_numbers_of_the_report(
    exported: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stages.export.predict.CHUNK_ROWS", 7)
    reported = pl.read_parquet(exported / "predictions.parquet")
    given = reported.select("pair_id", "text_a", "text_b", "label", "source_row")
    path = tmp_path / f"pairs.{ending}"
    if ending == "parquet":
        given.write_parquet(path)
    elif ending == "jsonl":
        given.write_ndjson(path)
    else:
        given.write_csv(path, separator="," if ending == "csv" else "\t")
    summary = predict(exported / "student", path, tmp_path / "out.parquet")

    found = pd.read_parquet(tmp_path / "out.parquet")
    assert list(found.columns) == [*given.columns, "decoder", "encoder", "fused", "match"]
    assert found["pair_id"].tolist() == given["pair_id"].to_list()
    assert [str(label) for label in found["label"]] == [str(label) for label in given["label"]]
    assert found["label"].dtype == {"parquet": "int8", "jsonl": "int64"}.get(ending, found["label"].dtype)
    for name in ("decoder", "encoder", "fused"):
        assert np.abs(found[name].to_numpy() - reported[name].to_numpy()).max() < 1e-5
    threshold = json.loads((exported / "metrics.json").read_text())["thresholds"]["fused"]
    assert found["match"].tolist() == (found["fused"].astype(float) >= threshold).tolist()
    assert summary == {"pairs": len(found), "matches": found["match"].tolist().count(True)}
    assert read_metadata(tmp_path / "out.parquet")["threshold"] == threshold
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.parquet", path.name]


def test_other_column_names_mixed_json_and_the_export_itself(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"q": " freeze my card\n", "faq": "冻结我的卡", "extra": [1, "é"], "score": 1},
        {"q": "freeze my card", "faq": "冻结我的卡", "extra": None, "score": 0.5, "late": True},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    predict(exported, path, tmp_path / "out.parquet", text_a="q", text_b="faq")
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["q"] for row in found] == [" freeze my card\n", "freeze my card"]
    assert found[0]["fused"] == pytest.approx(found[1]["fused"], abs=1e-6)  # white space at the ends is no text
    assert [row["extra"] for row in found] == ['[1, "é"]', None]
    assert [row["score"] for row in found] == [1.0, 0.5]
    assert [row["late"] for row in found] == [None, True]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("text_a,text_b\na, \nc, \n", r"row 1 has no text in 'text_b'.*; no row can be used"),
        ("text_a,other\na,b\n", r"no column 'text_b'; the columns are 'text_a', 'other'"),
        ("text_a,text_b,fused\na,b,1\n", r"already.*fused"),
        ("text_a,text_b,problem\na,b,1\nc,,2\n", r"row 2 has no text in 'text_b'.*'problem', which is there"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(exported: Path, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FlipkdError, match=told):
        predict(exported / "student", path, tmp_path / "out.parquet")
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.csv"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_bad_row_stays_and_is_told(exported: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"pairs.{ending}"
    rows = pd.DataFrame(
        {"n": [1, 2, 3, 4], "text_a": ["freeze my card", "my card is lost", None, "a fever"],
         "text_b": ["block the card", " ", "x", "high temperature"]}
    )  # fmt: skip
    match ending:
        case "csv":
            rows.to_csv(path, index=False)
            path.write_text(path.read_text("utf-8") + "5,ragged\n", "utf-8")
        case "jsonl":
            rows.to_json(path, orient="records", lines=True)
            path.write_text(path.read_text("utf-8") + "\n{broken\n", "utf-8")
        case _:
            rows.to_parquet(path)
    summary = predict(exported, path, tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    unreadable = ending != "parquet"
    assert (summary["pairs"], summary["unusable"]) == (4 + unreadable, 2 + unreadable)
    assert found.columns.tolist()[-5:] == ["decoder", "encoder", "fused", "match", "problem"]
    assert [str(n) for n in found["n"][:4].astype(int)] == ["1", "2", "3", "4"]
    assert found["fused"].notna().tolist() == [True, False, False, True, False][: len(found)]
    assert found["match"].isna().tolist() == found["fused"].isna().tolist()
    told = [str(problem) for problem in found["problem"]]
    assert told[1].startswith("has no text in 'text_b'")
    assert told[2].startswith("has no text in 'text_a'")
    assert not unreadable or told[4].startswith("cannot be read")
    good = rows.iloc[[0, 3]].to_csv(index=False)
    (tmp_path / "good.csv").write_text(good, "utf-8")
    predict(exported, tmp_path / "good.csv", tmp_path / "good.parquet")
    alone = pd.read_parquet(tmp_path / "good.parquet")
    assert found["fused"].dropna().tolist() == pytest.approx(alone["fused"].tolist(), abs=1e-6)
    predict(exported, path, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["fused"].notna().tolist() == found["fused"].notna().tolist()


def test_a_place_that_cannot_be_written(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("text_a,text_b\na,b\n", encoding="utf-8")
    with pytest.raises(FlipkdError, match="cannot be written: there is no folder"):
        predict(exported / "student", path, tmp_path / "nowhere/out.parquet")
    with pytest.raises(FlipkdError, match="cannot be written: it is a folder"):
        predict(exported / "student", path, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.csv"]
