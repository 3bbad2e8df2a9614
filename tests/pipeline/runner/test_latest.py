"""Where the latest artifacts of a config lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from flows.flip import flip
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.latest import latest_key, nights, sweep_links
from pipeline.runner.plan import plan
from tests.tiny import tiny_config


def named(folder: Path, **sections: object) -> Config:
    return tiny_config(folder, promote={"name": "faq"}, **sections)


def test_another_bound_moves_the_link_and_no_query_sees_both(tiny_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_run, tmp_path / "copy", symlinks=True)
    first, second = named(folder), named(folder, filter={"tau_pos": -1, "tau_neg": 1})
    store = store_of(first)
    file = store.root / "latest/faq/filter/filtered.parquet"
    kept = []
    for config in (first, second):
        flip(config, until="filter")
        assert latest_key(store, "faq", "filter") == plan(config, "filter")[-1].key
        kept.append(pl.read_parquet(file)["kept"].sum())
    assert kept[0] < kept[1] == 80
    assert len(list((store.root / "artifacts/filter").iterdir())) == 2
    assert pl.read_parquet(store.root / "latest/*/filter/filtered.parquet").height == 80 * len(
        list((store.root / "latest").iterdir())
    )
    runs = nights(store, "faq", "filter")
    assert [dict(run.planned)["filter"] for run in runs] == [plan(c, "filter")[-1].key for c in (second, first)]
    assert nights(store, "faq", "distill") == []


def test_links_to_what_is_gone_are_removed(tiny_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_run, tmp_path / "copy", symlinks=True)
    config = named(folder)
    store = store_of(config)
    flip(config, until="filter")
    shutil.rmtree(store.path("filter", plan(config, "filter")[-1].key))
    assert latest_key(store, "faq", "filter") is None
    sweep_links(store)
    assert sorted(path.name for path in (store.root / "latest/faq").iterdir()) == ["prepare", "score", "teach"]


def test_a_copy_that_lost_its_links_still_runs(
    tiny_run: Path, tmp_path: Path, flipkd_log: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(tiny_run, tmp_path / "copy")  # follows links, as `cp -rL` does
    config = tiny_config(folder)
    flip(config, until="filter")
    assert "a copy of a store must keep its links" in flipkd_log.text
    assert latest_key(store_of(config), "default", "filter") is None
