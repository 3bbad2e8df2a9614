"""Columns of the user's own, through every file of pairs."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from flows.flip import flip
from pipeline.config.location import store_of
from tests.pipeline.stages.prepare.test_run import prepared, write
from tests.tiny import tiny_config

HEAD = "ticket,channel,text_a,text_b,label"


def rows(count: int, start: int = 0) -> list[list[object]]:
    kinds = ("web", "phone", "")
    return [
        [f"00{n}", kinds[n % 3], f"first text {n}", f"second text {n}", n % 2] for n in range(start, start + count)
    ]


def test_they_stand_behind_flipkds_own(tmp_path: Path) -> None:
    path = write(tmp_path, rows(60), head=HEAD)
    _, plain, _ = prepared(tmp_path, {"path": path})
    summary, pairs, _ = prepared(tmp_path, {"path": path, "keep": ["channel", "ticket"]})
    assert summary["kept_columns"] == ["channel", "ticket"]
    assert pairs.columns.tolist() == [*plain.columns, "channel", "ticket"]
    assert pairs[plain.columns].equals(plain)
    given = pd.read_csv(path, dtype=str, keep_default_na=False)
    for row in pairs.to_dict("records"):
        assert list(given.loc[row["source_row"] - 1, ["channel", "ticket"]]) == [row["channel"], row["ticket"]]


def test_all_of_two_files_with_types_of_their_own(tmp_path: Path) -> None:
    first = write(tmp_path, rows(60), "a.csv", head=HEAD)
    frame = pd.DataFrame(rows(60, 60), columns=HEAD.split(",")).drop(columns="ticket")
    frame["when"] = [datetime.date(2026, 1, 1 + n % 28) for n in range(60)]
    frame["amount"] = [float(n) for n in range(60)]
    frame["tags"] = [["x", str(n)] for n in range(60)]
    frame.to_parquet(tmp_path / "b.parquet")
    files = [{"path": first, "keep": "all"}, {"path": str(tmp_path / "b.parquet"), "keep": "all"}]
    _, pairs, _ = prepared(tmp_path, *files)
    assert pairs.columns.tolist()[8:] == ["ticket", "channel", "when", "amount", "tags"]
    of_second = pairs[pairs["source"] == "b.parquet"].sort_values("source_row")
    assert of_second["amount"].tolist() == frame["amount"].tolist()
    assert of_second["tags"].tolist()[3] == '["x", "3"]'
    assert of_second["when"].tolist()[2] == datetime.date(2026, 1, 3)
    assert of_second["ticket"].isna().all()
    assert pairs[pairs["source"] == "a.csv"]["amount"].isna().all()


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (["chanel"], "has no column 'chanel'; it has ticket, channel"),
        (["label"], "'label' is the name of a column"),
    ],
)
def test_what_cannot_be_kept_is_told_before_anything_runs(tmp_path: Path, keep: list[str], said: str) -> None:
    path = write(tmp_path, rows(60), head=HEAD)
    with pytest.raises(FlipkdError, match=r"prepare.inputs.0.keep") as caught:
        prepared(tmp_path, {"path": path, "keep": keep})
    assert said in str(caught.value)


def test_built_pairs_have_those_of_their_first_text(tmp_path: Path) -> None:
    lines = [[f"word{n} thing{n} number {k}", f"id{n}", f"u{n}-{k}"] for n in range(12) for k in range(4)]
    path = write(tmp_path, lines, head="text,id,user")
    _, pairs, _ = prepared(tmp_path, {"kind": "utterances", "path": path, "keep": ["user"]})
    given = pd.read_csv(path)
    by_text = dict(zip(given["text"], given["user"], strict=True))
    assert pairs["user"].tolist() == [by_text[text] for text in pairs["text_a"]]


def test_through_the_whole_run(tmp_path: Path, prefect_server: None) -> None:
    tiny_config(tmp_path)
    with (tmp_path / "pairs.csv").open() as file:
        given = list(csv.reader(file))
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [[*row, "channel" if n == 0 else ("web", "mail")[n % 2]] for n, row in enumerate(given)]
        )
    entry = {"kind": "pairs", "path": str(tmp_path / "pairs.csv"), "group": "question", "keep": ["channel"]}
    config = tiny_config(tmp_path, prepare={"inputs": [entry], "splitting": {"dev": 0.25, "test": 0.25}})
    artifacts = flip(config)
    store = store_of(config)
    files = {
        stage: store.path(stage, artifacts[stage]["key"]) / name
        for stage, name in (
            ("score", "scores.parquet"),
            ("filter", "filtered.parquet"),
            ("export", "predictions.parquet"),
        )
    }
    for path in files.values():
        assert pq.read_schema(path).names[-1] == "channel"
        wrong = f"FROM '{path}' WHERE channel <> CASE source_row % 2 WHEN 1 THEN 'mail' ELSE 'web' END"
        assert duckdb.connect().execute(f"SELECT count(*) {wrong}").fetchall() == [(0,)]
    report = (store.path("export", artifacts["export"]["key"]) / "report.html").read_text("utf-8")
    assert "channel: web" in report
