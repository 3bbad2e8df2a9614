from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from data.schema import FILTERED, TRUNCATED, read_metadata, with_metadata, writer
from pipeline.stages.filter.config import FilterConfig
from pipeline.stages.filter.run import run
from tests.teacher_half import context, write_scores

Row = tuple[float, int | None, str]


def _rows(count: int = 600, unlabelled: float = 0.3, seed: int = 0) -> list[Row]:
    """Positives around 0.6, negatives around 0.1; some of them have lost their label."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    scores = np.clip(draw.normal(0.1 + 0.5 * labels, 0.2), -1, 1).astype(np.float32)
    hidden = draw.random(count) < unlabelled
    splits = draw.choice(["train", "dev", "test"], count)
    return [
        (float(s), None if h else int(y), str(split))
        for s, y, h, split in zip(scores, labels, hidden, splits, strict=True)
    ]


def _filter(folder: Path, rows: list[Row], **settings: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    scores, out = write_scores(folder / "score", rows), folder / "out"
    out.mkdir()
    summary = run(FilterConfig.model_validate(settings), {"score": scores}, out, context(folder))
    return json.loads(json.dumps(summary)), pd.read_parquet(out / "filtered.parquet")


def _expected(rows: list[Row], bounds: dict[str, Any], enabled: bool = True) -> list[tuple[bool, str, int | None]]:
    """The rule again, a row at a time, in float64."""
    bound = {name: found["bound"] for name, found in bounds.items()}
    decided: list[tuple[bool, str, int | None]] = []
    for score, label, _ in rows:
        if label is None:
            if "tau_accept" in bound and score >= bound["tau_accept"]:
                decided.append((True, "kept", 1))
            elif "tau_reject" in bound and score <= bound["tau_reject"]:
                decided.append((True, "kept", 0))
            else:
                decided.append((False, "uncertain", None))
        elif enabled and label == 1 and score < bound["tau_pos"]:
            decided.append((False, "positive_below_bound", 1))
        elif enabled and label == 0 and score > bound["tau_neg"]:
            decided.append((False, "negative_above_bound", 0))
        else:
            decided.append((True, "kept", label))
    return decided


def _decided(frame: pd.DataFrame) -> list[tuple[bool, str, int | None]]:
    targets = [None if pd.isna(target) else int(target) for target in frame["target"]]
    return list(zip(frame["kept"].tolist(), frame["reason"].tolist(), targets, strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        {"tau_accept": 0.8, "tau_reject": -0.1},
        {"tau_pos": 0.4, "tau_neg": 0.3, "tau_accept": 0.5, "tau_reject": 0.5},
        {"tau_pos": {"precision": 0.9}, "tau_neg": {"precision": 0.9}, "tau_accept": 0.5, "tau_reject": 0.2},
        {
            "tau_pos": {"quantile": 0.2},
            "tau_neg": {"quantile": 0.7},
            "tau_accept": {"quantile": 0.5},
            "tau_reject": {"quantile": 0.5},
        },
        {"tau_accept": {"precision": 0.99}, "tau_reject": {"precision": 0.99}},
        {"enabled": False},
    ],
)
def test_every_row_is_decided_as_by_hand(tmp_path: Path, settings: dict[str, Any]) -> None:
    rows = _rows()
    summary, frame = _filter(tmp_path, rows, **settings)
    assert _decided(frame) == _expected(rows, summary["bounds"], settings.get("enabled", True))
    assert frame["pair_id"].tolist() == [f"p{n}" for n in range(len(rows))]
    np.testing.assert_array_equal(frame["teacher_score"], np.array([s for s, _, _ in rows], dtype=np.float32))

    counted = Counter()
    for (_, label, split), (kept, reason, target) in zip(rows, _decided(frame), strict=True):
        kind = {1: "positive", 0: "negative", None: "unlabelled"}[label]
        what = reason if label is not None or not kept else f"kept_as_{('negative', 'positive')[target or 0]}"
        counted[split, kind, what] += 1
    found = {
        (split, kind, what): number
        for split, kinds in summary["counts"].items()
        for kind, reasons in kinds.items()
        for what, number in reasons.items()
    }
    assert found == counted
    train = frame[(frame["split"] == "train") & frame["kept"]]
    assert summary["train_kept"] == {
        "positive": train["target"].tolist().count(1),
        "negative": train["target"].tolist().count(0),
    }


def test_bounds_come_from_the_right_rows(tmp_path: Path) -> None:
    rows = _rows()
    summary, _ = _filter(tmp_path, rows, tau_accept={"precision": 0.99}, tau_reject={"precision": 0.99})
    bounds = summary["bounds"]
    own = {y: np.array([s for s, label, split in rows if label == y and split == "train"]) for y in (0, 1)}
    assert bounds["tau_pos"] == {
        "bound": pytest.approx(np.quantile(own[1], 0.05), abs=1e-6),
        "by": "quantile",
        "given": 0.05,
    }
    assert bounds["tau_neg"]["bound"] == pytest.approx(np.quantile(own[0], 0.95), abs=1e-6)
    dev = [(s, label) for s, label, split in rows if label is not None and split == "dev"]
    beyond = [label for s, label in dev if s >= bounds["tau_accept"]["bound"]]
    assert sum(beyond) / len(beyond) >= 0.99
    wider = max(s for s, _ in dev if s < bounds["tau_accept"]["bound"])
    beyond = [label for s, label in dev if s >= wider]
    assert sum(beyond) / len(beyond) < 0.99


def test_a_pair_at_a_bound_is_kept_and_the_recorded_bound_says_so(tmp_path: Path) -> None:
    rows: list[Row] = [(np.float32(0.7).item(), 1, "train"), (np.float32(0.3).item(), 0, "train")]
    rows += [(np.float32(0.69999).item(), 1, "train"), (np.float32(0.30001).item(), 0, "train")]
    summary, frame = _filter(tmp_path, rows, tau_pos=0.7, tau_neg=0.3)
    assert frame["kept"].tolist() == [True, True, False, False]
    low, high = (summary["bounds"][name]["bound"] for name in ("tau_pos", "tau_neg"))
    path = tmp_path / "out" / "filtered.parquet"
    again = duckdb.connect().execute(
        "SELECT CASE label WHEN 1 THEN teacher_score >= ?::DOUBLE ELSE teacher_score <= ?::DOUBLE END = kept "
        "FROM read_parquet(?)",
        [low, high, str(path)],
    )
    assert again.fetchall() == [(True,)] * 4


def test_schema_order_and_row_groups(tmp_path: Path) -> None:
    count = 130_000
    scores = write_scores(tmp_path / "score", [(0.9, 1, "train"), (0.1, 0, "train")])
    few = pq.read_table(scores / "scores.parquet")
    table = pa.concat_tables([few] * (count // 2)).set_column(
        0, few.schema.field("pair_id"), pa.array([f"p{n}" for n in range(count)])
    )
    told = {"teacher": {"key": "abc", "pooling": "mean"}}
    with writer(scores / "scores.parquet", with_metadata(few.schema, told)) as file:
        file.write_table(table.cast(file.schema))
    (tmp_path / "out").mkdir()
    summary = run(FilterConfig.model_validate({}), {"score": scores}, tmp_path / "out", context(tmp_path))
    path = tmp_path / "out" / "filtered.parquet"
    assert pq.read_schema(path).equals(FILTERED)
    groups = pq.read_metadata(path)
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [64_000, 64_000, 2_000]
    assert groups.row_group(0).column(0).compression == "ZSTD"
    assert pq.read_table(path)["pair_id"].equals(table["pair_id"])
    metadata = read_metadata(path)
    assert metadata["teacher"] == told["teacher"]
    assert metadata["bounds"] == summary["bounds"]


def test_whether_texts_were_cut_is_carried_along(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "score", [(0.9, 1, "train"), (0.1, 0, "train")])
    table = pq.read_table(scores / "scores.parquet")
    table = table.append_column(TRUNCATED, pa.array([True, False]))
    pq.write_table(table, scores / "scores.parquet")
    (tmp_path / "out").mkdir()
    run(FilterConfig.model_validate({}), {"score": scores}, tmp_path / "out", context(tmp_path))
    rows = pl.read_parquet(tmp_path / "out" / "filtered.parquet")
    assert rows.columns == [*FILTERED.names, "truncated"]
    assert rows["truncated"].to_list() == [True, False]


def test_bounds_of_unlabelled_pairs_are_sought_only_if_there_are_some(tmp_path: Path) -> None:
    # Dev has no labels at all, so a precision could not be calibrated.
    rows = [row for row in _rows(unlabelled=0) if row[2] != "dev"]
    summary, _ = _filter(tmp_path, rows)
    assert list(summary["bounds"]) == ["tau_pos", "tau_neg"]
    (tmp_path / "more").mkdir()
    with pytest.raises(FlipkdError, match=r"filter\.tau_accept: .* dev, which has 0 labelled positives"):
        _filter(tmp_path / "more", [*rows, (0.5, None, "train")])


def test_bounds_that_cross_name_both(tmp_path: Path) -> None:
    # Two plain numbers that cross are refused with the config; a quantile is known only here.
    with pytest.raises(
        FlipkdError, match=r"tau_reject \(0\.\d+, by quantile\) lies above tau_accept \(0\.4, by value\)"
    ):
        _filter(tmp_path, _rows(), tau_accept=0.4, tau_reject={"quantile": 1.0})


def test_precisions_below_what_the_teacher_reaches_say_so(tmp_path: Path) -> None:
    rows: list[Row] = [
        (y * 0.5 + n / 100, y, split) for split in ("train", "dev") for y in (0, 1) for n in range(20)
    ]
    with pytest.raises(FlipkdError, match="better on dev than the precisions asked for: raise them"):
        _filter(
            tmp_path, [*rows, (0.5, None, "train")], tau_accept={"precision": 0.8}, tau_reject={"precision": 0.8}
        )


@pytest.mark.parametrize(("settings", "gone"), [({"tau_pos": 1.0}, "positive"), ({"tau_neg": -1.0}, "negative")])
def test_a_class_that_is_gone_from_train_stops_the_run(
    tmp_path: Path, settings: dict[str, float], gone: str
) -> None:
    with pytest.raises(FlipkdError, match=f"no {gone} pair of train is kept"):
        _filter(tmp_path, _rows(unlabelled=0), **settings)


def test_a_class_that_train_never_had(tmp_path: Path) -> None:
    rows = [row for row in _rows(unlabelled=0) if row[1] == 1 or row[2] != "train"]
    with pytest.raises(FlipkdError, match=r"filter\.tau_neg: train has no labelled negatives"):
        _filter(tmp_path, rows)


def test_dropping_most_of_a_class_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        summary, frame = _filter(tmp_path, _rows(unlabelled=0), tau_pos={"quantile": 0.6})
    train = frame[(frame["split"] == "train") & (frame["label"] == 1)]
    dropped = train["kept"].tolist().count(False)
    assert dropped / len(train) == pytest.approx(0.6, abs=0.02)
    assert len(summary["warnings"]) == 1
    assert summary["warnings"][0].startswith(f"{dropped} of the {len(train)} positive pairs of train are dropped")
    assert summary["warnings"][0] in caplog.text


def test_no_warning_where_little_is_dropped(tmp_path: Path) -> None:
    assert _filter(tmp_path, _rows(unlabelled=0))[0]["warnings"] == []


def test_same_rows_again(tmp_path: Path) -> None:
    frames = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        frames.append(_filter(tmp_path / name, _rows(), tau_accept=0.8, tau_reject=0.0)[1])
    pd.testing.assert_frame_equal(*frames)
