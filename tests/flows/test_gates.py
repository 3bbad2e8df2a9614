"""Nights one after the other through the real flow: promotion, drift, and the records of the runs."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from data.errors import FlipkdError
from flows.flip import flip
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.promotion.history import history
from pipeline.promotion.link import in_use
from pipeline.runner.plan import plan
from pipeline.runner.runs import runs
from tests.tiny import tiny_config


@pytest.fixture
def night(tiny_run: Path, tmp_path: Path) -> Path:
    """A store in which one run is done and nothing is promoted."""
    return Path(shutil.copytree(tiny_run, tmp_path / "night", symlinks=True))


def with_settings(folder: Path, **sections: object) -> Config:
    config = tiny_config(folder)
    if isinstance(mode := sections.get("promote"), str):
        sections["promote"] = config.promote.model_dump() | {"mode": mode}
    elif isinstance(mode, dict):
        sections["promote"] = config.promote.model_dump() | mode
    return Config.model_validate(config.model_dump() | sections)


def longer_texts(folder: Path) -> None:
    path = folder / "pairs.csv"
    rows = list(csv.reader(path.open(encoding="utf-8")))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [
                rows[0],
                *([q, f"{a} please tell me what to do now", f"{b} my card is lost", y] for q, a, b, y in rows[1:]),
            ]
        )


def test_a_student_is_promoted_only_where_the_config_says_so(night: Path) -> None:
    manual = with_settings(night)
    store = store_of(manual)
    flip(manual)
    assert in_use(store) is None
    artifacts = flip(with_settings(night, promote="auto"))
    assert in_use(store) == artifacts["export"]["key"]
    assert (store.root / "current/default/student/adapter_model.safetensors").is_file()


def test_drift_stops_a_run_before_the_student_is_trained(night: Path) -> None:
    first = flip(with_settings(night, promote="auto"))
    longer_texts(night)
    config = with_settings(night, promote="auto", drift={"text_lengths": {"warn": 0.1, "stop": 0.3}})
    with pytest.raises(FlipkdError, match=r"text_lengths"):
        flip(config)
    store = store_of(config)
    steps = {step.stage: step.key for step in plan(config)}
    assert store.path("score", steps["score"]).is_dir()
    assert not store.path("distill", steps["distill"]).exists()
    assert in_use(store) == first["export"]["key"]
    last = runs(store)[-1].record
    assert last is not None
    assert last.state == "failed"
    assert "text_lengths" in (last.error or "")


def test_a_refused_student_fails_the_run_only_if_the_config_says_so(night: Path) -> None:
    first = flip(with_settings(night, promote="auto"))
    settings = {"drift": {"enabled": False}, "seed": 99}
    refusing = {"mode": "auto", "minimum_pairs": 100_000}
    config = with_settings(night, promote=refusing, **settings)
    second = flip(config)
    assert second["export"]["key"] != first["export"]["key"]
    with pytest.raises(FlipkdError, match="not promoted"):
        flip(with_settings(night, promote=refusing | {"otherwise": "fail"}, **settings))
    assert in_use(store_of(config)) == first["export"]["key"]
    assert [run.record.state for run in runs(store_of(config))[-3:] if run.record] == [
        "completed", "completed", "failed",
    ]  # fmt: skip


def test_even_the_first_student_is_refused_below_the_floor(night: Path) -> None:
    config = with_settings(night, promote={"mode": "auto", "at_least": 0.99})
    flip(config)
    assert in_use(store_of(config)) is None
    (record,) = history(store_of(config))
    assert record.action == "refused"
    assert "is below promote.at_least.auroc, 0.99" in record.reason
