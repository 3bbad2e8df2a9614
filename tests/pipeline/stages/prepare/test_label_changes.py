"""Labels flipped or taken away on purpose: which, how many, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import FlipkdError
from data.schema import LABEL_NOISE, PAIRS
from pipeline.stages.prepare.label_changes import chosen
from tests.pipeline.stages.prepare.test_run import good, prepared, write
from tests.tiny import WORDS

UNLABELLED = [[f"loose text {n}", f"other text {n}", ""] for n in range(20)]


def _made(folder: Path, noise: float, rows: list[list[object]], seed: int = 13, **options: Any) -> Any:
    """Summary and pairs; None in place of a missing `label_noise.parquet`."""
    folder.mkdir(exist_ok=True)
    summary, pairs, _ = prepared(folder, {"path": write(folder, rows)}, seed=seed, label_noise=noise, **options)
    file = folder / "out" / "label_noise.parquet"
    return summary, pairs, pd.read_parquet(file) if file.exists() else None


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Any]:
    folder, rows = tmp_path_factory.mktemp("noise"), [*good(200), *UNLABELLED]
    return {noise: _made(folder / f"{noise}", noise, rows) for noise in (0, 0.1, 0.2)}


@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_as_many_as_asked_for_in_train_alone_and_each_is_written_down(
    runs: dict[float, Any], noise: float
) -> None:
    (_, clean, nothing), (summary, pairs, flipped) = runs[0], runs[noise]
    assert nothing is None
    columns = [name for name in pairs if name != "label"]
    pd.testing.assert_frame_equal(pairs[columns], clean[columns])
    labels = clean["label"]
    changed = (pairs["label"] != labels) & labels.notna()
    assert (pairs["label"].isna() == labels.isna()).all()
    assert set(pairs["split"][changed]) == {"train"}
    candidates = clean[(clean["split"] == "train") & labels.notna()]
    assert changed.sum() == round(noise * len(candidates)) > 0
    assert (pairs["label"][changed] == 1 - labels[changed]).all()
    expected = clean[changed][["pair_id", "label"]].astype({"label": "int8"}).reset_index(drop=True)
    pd.testing.assert_frame_equal(flipped, expected)

    told = summary["label_noise"]
    was_positive = int((flipped["label"] == 1).sum())
    assert told == {
        "share": noise,
        "labelled": len(candidates),
        "flipped": len(flipped),
        "to_positive": len(flipped) - was_positive,
        "to_negative": was_positive,
    }
    train = pairs[pairs["split"] == "train"]["label"]
    counts = summary["splits"]["train"]
    assert (counts["positive"], counts["negative"]) == ((train == 1).sum(), (train == 0).sum())
    assert counts["unlabelled"] == train.isna().sum()
    assert {k: v for k, v in summary["splits"].items() if k != "train"} == {
        k: v for k, v in runs[0][0]["splits"].items() if k != "train"
    }


def test_a_smaller_share_is_part_of_a_larger_one(runs: dict[float, Any]) -> None:
    small, large = (set(runs[noise][2]["pair_id"]) for noise in (0.1, 0.2))
    assert small < large


def test_without_noise_nothing_is_added(runs: dict[float, Any]) -> None:
    assert "label_noise" not in runs[0][0]


def test_the_files_keep_their_schemas(tmp_path: Path) -> None:
    _made(tmp_path, 0.3, good(60))
    assert pq.read_schema(tmp_path / "out" / "pairs.parquet").equals(PAIRS)
    assert pq.read_schema(tmp_path / "out" / "label_noise.parquet").equals(LABEL_NOISE)
    assert pq.read_metadata(tmp_path / "out" / "pairs.parquet").row_group(0).column(0).compression == "ZSTD"
    query = "SELECT count(*) FROM read_parquet($1) JOIN read_parquet($2) n USING (pair_id)"
    files = [str(tmp_path / "out" / f"{name}.parquet") for name in ("pairs", "label_noise")]
    found = duckdb.connect().execute(query, files).fetchall()
    assert found == [(len(pd.read_parquet(files[1])),)]


def test_a_run_gives_the_same_pairs_again_and_another_seed_others(tmp_path: Path) -> None:
    one, two, other = (
        _made(tmp_path / name, 0.2, good(150), seed)[2]["pair_id"].tolist()
        for name, seed in (("one", 13), ("two", 13), ("other", 14))
    )
    assert one == two
    assert set(one) != set(other)


def test_a_pair_with_both_labels_is_left_alone(tmp_path: Path) -> None:
    both = [["same first", "same second", 0], ["same first", "same second", 1]]
    _, pairs, flipped = _made(tmp_path, 0.9, [*good(100), *both], contradictions="keep", splitting={"dev": 0.2})
    twice = pairs[pairs["text_a"] == "same first"]
    assert sorted(twice["label"]) == [0, 1]
    assert not set(twice["pair_id"]) & set(flipped["pair_id"])


def test_pairs_that_are_built_count_too(tmp_path: Path) -> None:
    words = WORDS.split()
    rows = [[f"{words[n]} {words[-n - 1]} {k}", f"id {n}"] for n in range(20) for k in range(6)]
    file = {"kind": "utterances", "path": write(tmp_path, rows, head="text,id")}
    summary, pairs, _ = prepared(tmp_path, file, label_noise=0.25)
    train = pairs[pairs["split"] == "train"]
    assert summary["label_noise"]["flipped"] == round(0.25 * len(train)) > 0


def test_what_leaves_one_class_is_refused(tmp_path: Path) -> None:
    # One positive in train; with seed 0 it is flipped.
    rows = [[f"first {n}", f"second {n}", label, split] for n, (label, split) in enumerate(
        [(1, "train"), (0, "train"), *[(n % 2, split) for split in ("dev", "test") for n in range(4)]]
    )]  # fmt: skip
    path = write(tmp_path, rows, head="text_a,text_b,label,split")
    with pytest.raises(FlipkdError, match=r"prepare\.label_noise: with 0\.5 .* have one label"):
        prepared(tmp_path, {"path": path, "split_column": "split"}, label_noise=0.5)


def test_labels_are_taken_from_train_alone_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    file = {"path": write(tmp_path, [*good(200), *UNLABELLED])}
    _, full, _ = prepared(tmp_path, file)
    found = {share: prepared(tmp_path, file, label_share=share) for share in (0.25, 0.5)}
    columns = [name for name in full if name != "label"]
    candidates = (full["split"] == "train") & full["label"].notna()
    for share, (summary, pairs, _) in found.items():
        pd.testing.assert_frame_equal(pairs[columns], full[columns])
        hidden = pairs["label"].isna() & full["label"].notna()
        assert set(pairs["split"][hidden]) == {"train"}
        assert (candidates & ~hidden).sum() == round(share * candidates.sum()) > 0
        assert (
            pairs["label"][~hidden & full["label"].notna()] == full["label"][full["label"].notna() & ~hidden]
        ).all()
        positive = int((full["label"][hidden] == 1).sum())
        assert summary["label_share"] == {
            "share": share,
            "labelled": candidates.sum(),
            "hidden": hidden.sum(),
            "positive": positive,
            "negative": hidden.sum() - positive,
        }
        train = pairs[pairs["split"] == "train"]["label"]
        counts = summary["splits"]["train"]
        assert (counts["positive"], counts["negative"]) == ((train == 1).sum(), (train == 0).sum())
        assert counts["unlabelled"] == train.isna().sum()
    small, large = (set(pairs["pair_id"][pairs["label"].notna()]) for _, pairs, _ in found.values())
    assert small < large


def test_with_both_the_noise_is_a_share_of_the_labels_that_stay(tmp_path: Path) -> None:
    file = {"path": write(tmp_path, good(200))}
    summary, pairs, _ = prepared(tmp_path, file, label_share=0.5, label_noise=0.2)
    hidden, noise = summary["label_share"], summary["label_noise"]
    assert noise["labelled"] == hidden["labelled"] - hidden["hidden"]
    assert noise["flipped"] == round(0.2 * noise["labelled"])
    train = pairs[pairs["split"] == "train"]["label"]
    counts = summary["splits"]["train"]
    assert (counts["positive"], counts["negative"]) == ((train == 1).sum(), (train == 0).sum())
    flipped = pd.read_parquet(tmp_path / "out" / "label_noise.parquet")
    assert pairs.set_index("pair_id")["label"][flipped["pair_id"]].notna().all()


def test_a_label_share_that_leaves_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"prepare\.label_share: with 0\.001 of them, no .*; raise it"):
        prepared(tmp_path, {"path": write(tmp_path, good(200))}, label_share=0.001)


@settings(max_examples=50, deadline=None)
@given(
    ids=st.lists(st.text("0123456789abcdef", min_size=4, max_size=8), unique=True, max_size=60),
    more=st.text("ghij", min_size=1, max_size=4),
    shares=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    seed=st.integers(0, 9),
)
def test_the_order_of_rows_is_nothing_and_a_new_row_replaces_one_at_most(
    ids: list[str], more: str, shares: tuple[float, float], seed: int
) -> None:
    low, high = sorted(shares)
    small, large = chosen(ids, low, seed), chosen(ids, high, seed)
    assert len(small) == round(low * len(ids))
    assert large[: len(small)] == small
    assert chosen(ids[::-1], high, seed) == large
    assert len(set(large) - set(chosen([*ids, more], high, seed))) <= 1
