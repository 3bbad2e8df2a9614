"""Which scores are meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from data.errors import FlipkdError
from flows.flip import flip
from pipeline.config.location import store_of
from pipeline.inspection.files import scores_file, scores_of
from pipeline.runner.plan import plan
from tests.tiny import tiny_config


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_run, tmp_path / "copy", symlinks=True)


def test_other_bounds_are_applied_without_a_run(folder: Path) -> None:
    config = tiny_config(folder, filter={"tau_pos": 0.3, "tau_neg": 0.99})
    found = scores_of(config)
    assert found.path.name == "scores.parquet"
    assert found.bounds == pytest.approx({"tau_pos": 0.3, "tau_neg": 0.99})
    before = found.rows.collect()
    flip(config, until="filter")
    after = scores_of(config)
    assert after.path.name == "filtered.parquet"
    assert after.bounds == pytest.approx({"tau_pos": 0.3, "tau_neg": 0.99})
    assert before.select(after.rows.collect().columns).equals(after.rows.collect())


def test_by_key_and_by_night(folder: Path) -> None:
    first, second = (tiny_config(folder, promote={"name": "faq"}, filter=bounds) for bounds in
                     ({"tau_pos": 0.3, "tau_neg": 0.99}, {"tau_pos": 0.1, "tau_neg": 0.99}))  # fmt: skip
    flip(first, until="filter")
    flip(second, until="score")
    flip(second, until="filter")
    keys = [plan(config, "filter")[-1].key for config in (first, second)]
    store = store_of(first)
    assert scores_file(first, key=keys[1][:9]) == store.path("filter", keys[1]) / "filtered.parquet"
    assert [scores_file(second, night=n).parent.name for n in (1, 3)] == [keys[1], keys[0]]
    assert scores_file(second, night=2).name == "scores.parquet"
    with pytest.raises(FlipkdError, match="--night 4: 3 runs named faq"):
        scores_file(second, night=4)
    with pytest.raises(FlipkdError, match=r"an artifact of prepare; scores are in those of filter and score"):
        scores_file(first, key=f"prepare/{plan(first)[0].key}")


def test_last_night_is_named_where_todays_rows_are_not_scored(folder: Path) -> None:
    config = tiny_config(folder, promote={"name": "faq"})
    flip(config, until="filter")
    with (folder / "pairs.csv").open("a") as file:
        file.write("new,one text,another text,1\n")
    with pytest.raises(
        FlipkdError, match=r"flipkd run CONFIG --until filter. The last run .* --night 1 shows them"
    ):
        scores_file(config)
    assert pl.read_parquet(scores_file(config, night=1)).height == 80


def test_a_damaged_file_is_not_shown(folder: Path) -> None:
    config = tiny_config(folder)
    file = scores_file(config)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FlipkdError, match="is damaged"):
        scores_file(config)
