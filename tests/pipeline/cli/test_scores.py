"""`flipkd scores`, as a user types it."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

from flows.flip import flip
from pipeline.cli.main import app
from pipeline.config.load import load_config
from tests.tiny import tiny_config

OTHER = ["--set", "filter.tau_pos=0.3"]


@pytest.fixture(scope="module")
def config(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A config whose run is there, and one with another bound before it."""
    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("scores") / "copy", symlinks=True)
    path = folder / "faq.yaml"
    settings = tiny_config(folder).model_dump(mode="json", exclude_unset=True)
    path.write_text(yaml.safe_dump(settings), "utf-8")
    flip(load_config(path, {"filter.tau_pos": 0.3}), until="filter")
    flip(load_config(path))
    return str(path)


def flipkd(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["scores", *arguments])


def well(*arguments: str) -> str:
    result = flipkd(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_path_opens_in_duckdb(config: str) -> None:
    path = well("path", config).strip()
    assert duckdb.connect().execute(f"SELECT count(*) FROM '{path}'").fetchall() == [(80,)]
    assert Path(path).name == "filtered.parquet"
    assert well("path", config, *OTHER) == well("path", config, "--night", "2")
    assert flipkd("path", config, "--night", "9").exit_code == 1


def test_show_counts_what_there_is(config: str) -> None:
    told = well("show", config, "--where", "label = 1", "-n", "3")
    assert told.endswith("3 of 40 rows\n")
    assert "no row fulfils the condition" in well("show", config, "--search", "zzz")
    assert flipkd("show", config, "--key", "0" * 8, "--night", "1").exit_code == 2


def test_another_bound_is_seen_before_it_is_run(config: str, tmp_path: Path) -> None:
    bound = ["--set", "filter.tau_pos=0.95", "--set", "filter.tau_neg=1"]
    told = well("describe", config, *bound)
    assert "tau_pos 0.950" in told
    well("show", config, *bound, "-o", str(tmp_path / "rows.csv"))
    rows = pd.read_csv(tmp_path / "rows.csv")
    dropped = (rows["label"] == 1) & (rows["teacher_score"] < 0.95)
    assert (rows["reason"] == "positive_below_bound").tolist() == dropped.tolist()
    assert list(rows["kept"]).count(True) == 80 - len(rows[dropped])


def test_bounds_and_a_histogram(config: str, tmp_path: Path) -> None:
    assert "tau_pos keeps" in well("bounds", config, "-o", str(tmp_path / "bounds.png"))
    assert (tmp_path / "bounds.png").read_bytes().startswith(b"\x89PNG")
    assert "matches" in well("hist", config, "--where", "split = 'dev'")
    assert flipkd("hist", config, "--where", "split = 'none'").exit_code == 1


def test_suspects_to_verdicts_to_a_run(config: str, tmp_path: Path) -> None:
    told = well("suspects", config, "-n", "2", "--by", "split")
    assert "2 of 40 labelled pairs" in told.replace("\n", " ")
    review = tmp_path / "review.csv"
    assert "prepare.overrides" in well("suspects", config, "-n", "4", "-o", str(review))
    frame = pd.read_csv(review, encoding="utf-8-sig", dtype=str)
    frame["verdict"] = frame["suggested"]
    frame.to_csv(review, index=False)
    artifacts = flip(load_config(config, {"prepare.overrides": str(review)}), until="prepare")
    pairs = Path(config).parent / "store/artifacts/prepare" / artifacts["prepare"]["key"] / "pairs.parquet"
    found = pl.read_parquet(pairs).filter(pl.col("pair_id").is_in(frame["pair_id"].to_list()))
    expected = dict(zip(frame["pair_id"], (frame["suggested"] == "match").astype(int), strict=True))
    assert dict(found.select("pair_id", "label").iter_rows()) == expected
    assert flipkd("suspects", config, "--by", "nix").exit_code == 1


def test_two_nights_are_compared(config: str, tmp_path: Path) -> None:
    told = well("diff", config)
    assert "kept or dropped otherwise" in told
    well("diff", config, "-o", str(tmp_path / "moved.parquet"))
    found = pd.read_parquet(tmp_path / "moved.parquet")
    assert set(found["change"]) == {"decision", "same"}
    assert set(found["moved"]) == {0.0}
    assert well("diff", config, config).count("the same") == 1
    assert flipkd("diff", config, config, "--before", "abc").exit_code == 2


def test_near_texts_and_one_pairs_story(config: str, tmp_path: Path) -> None:
    well("near", config, "--at-least", "0", "-n", "7", "-o", str(tmp_path / "near.csv"))
    assert len(pd.read_csv(tmp_path / "near.csv")) == 7
    rows = pl.read_parquet(well("path", config).strip())
    test, train = (rows.filter(split=split)["pair_id"][0] for split in ("test", "train"))
    told = well("explain", config, test[:10])
    for words in ("pairs.csv, row", "it stands in test", "teacher_score", "tau_pos", "fused", "threshold"):
        assert words in " ".join(told.split())
    assert "not asked" in well("explain", config, train)
    assert "no such pair" in flipkd("explain", config, "zzz").stderr
