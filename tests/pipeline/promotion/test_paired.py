"""The paired comparison: which pairs, whose scores, and the numbers against plain loops."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

import pipeline.promotion.paired as module
from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.config.nightly import PromoteConfig
from pipeline.evaluation.bootstrap import resamples
from pipeline.promotion.gate import judge
from pipeline.promotion.paired import compare
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan
from pipeline.store.store import Store
from tests.students import add_run, scored_pairs
from tests.tiny import tiny_config, tiny_pairs


def config_with(bootstrap: int = 400, seed: int = 13, **promote: Any) -> Config:
    return Config.model_validate(
        {
            "seed": seed,
            "prepare": {"inputs": [{"kind": "pairs", "path": "unused.csv"}]},
            "export": {"bootstrap": bootstrap},
            "promote": promote,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def no_model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a model would be loaded, but in the tests that are about that."""
    if "loads" not in request.node.name:
        monkeypatch.setattr(module, "_score", lambda *args: pytest.fail("a student was loaded"))


def by_scikit(metric: str, labels: Any, scores: Any, threshold: float) -> float:
    called = np.asarray(scores, np.float64) >= threshold
    return float(
        {
            "auroc": lambda: roc_auc_score(labels, scores),
            "average_precision": lambda: average_precision_score(labels, scores),
            "f1": lambda: f1_score(labels, called),
            "accuracy": lambda: accuracy_score(labels, called),
        }[metric]()
    )


# ---------------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize("metric", ["auroc", "average_precision", "f1", "accuracy"])
@pytest.mark.parametrize("score", ["fused", "encoder"])
def test_numbers_equal_a_plain_loop(store: Store, metric: str, score: str) -> None:
    new, current = scored_pairs(120, 1, 2.0), scored_pairs(120, 2, 1.5)
    new_key = add_run(store, new, name="new", thresholds={score: 0.45})
    current_key = add_run(store, current, name="current", thresholds={score: 0.6})
    found = compare(config_with(100, metric=metric, score=score), store, new_key, current_key)

    labels, first, second = new["label"].to_numpy(), new[score].to_numpy(), current[score].to_numpy()
    differences = []
    for block in resamples(labels, 100, 13):
        for weights in block:
            drawn = np.repeat(np.arange(120), weights)
            differences.append(
                by_scikit(metric, labels[drawn], first[drawn], 0.45)
                - by_scikit(metric, labels[drawn], second[drawn], 0.6)
            )
    assert found.resamples == len(differences) == 100
    assert (found.pairs, found.positives, found.left_out, found.scored_again) == (120, int(labels.sum()), 0, 0)
    assert found.new == pytest.approx(by_scikit(metric, labels, first, 0.45))
    assert found.current == pytest.approx(by_scikit(metric, labels, second, 0.6))
    assert found.difference == pytest.approx(by_scikit(metric, labels, first, 0.45) - float(found.current or 0))
    assert [found.low, found.high] == pytest.approx(list(np.percentile(differences, [2.5, 97.5])))


def test_the_interval_is_paired(store: Store) -> None:
    """Two students that err on the same pairs differ surely, although each one's own interval is wide."""
    new = scored_pairs(200, 1, 1.5)
    worse = np.where(new["label"] == 1, new["fused"] - 0.03, new["fused"] + 0.03).clip(0, 1)
    current = new.with_columns(pl.Series("fused", worse.astype(np.float32)))
    found = compare(config_with(), store, add_run(store, new, name="n"), add_run(store, current, name="c"))
    low, high = found.low or 0, found.high or 0
    assert low > 0
    draw = np.random.default_rng(0)
    alone = [
        roc_auc_score(new["label"].to_numpy()[rows], new["fused"].to_numpy()[rows])
        for rows in (draw.integers(0, 200, 200) for _ in range(200))
    ]
    assert high - low < np.ptp(np.percentile(alone, [2.5, 97.5])) / 3


def test_the_same_student_does_not_differ(store: Store) -> None:
    pairs = scored_pairs(60, 1, 1.0)
    found = compare(config_with(), store, add_run(store, pairs, name="a"), add_run(store, pairs, name="b"))
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_same_seed_same_numbers(store: Store) -> None:
    keys = [add_run(store, scored_pairs(60, n, 1.0), name=str(n)) for n in range(2)]
    one, same, other = (compare(config_with(seed=seed), store, *keys) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert replace(one, low=None, high=None) == replace(other, low=None, high=None)


# ---------------------------------------------------------------------------------------------- which pairs


def test_what_the_student_in_use_has_seen_is_left_out(store: Store) -> None:
    tonight = scored_pairs(100, 1, 2.0)
    groups = pl.Series("group", ["seen", "g1"] + [None] * 98, dtype=pl.String)
    tonight = tonight.with_columns(groups)
    train = scored_pairs(10, 9, 1.0, start=5000, split="train").with_columns(
        pl.Series("text_a", ["  QUESTION\u3000 10 ", "Answer 11", *(f"x {n}" for n in range(8))]),
        pl.Series("group", ["Seen ", *[None] * 9], dtype=pl.String),
    )
    dev = tonight.slice(20, 5).with_columns(pl.lit("dev").alias("split"))  # its threshold was chosen on these
    test = tonight.filter(~pl.col("text_a").is_in(dev["text_a"].implode()))
    current_key = add_run(store, pl.concat([dev, test]), name="current", train=train)
    found = compare(config_with(), store, add_run(store, tonight, name="new"), current_key)
    # Pair 0 by its group, 10 by its first text, 11 by its second, 20 to 24 as dev.
    assert (found.left_out, found.pairs) == (8, 92)
    kept = tonight.filter(~pl.Series([n in {0, 10, 11, *range(20, 25)} for n in range(100)]))
    assert found.new == pytest.approx(roc_auc_score(kept["label"], kept["fused"]))
    sentence = judge(found, PromoteConfig())[1]
    assert "on 92 pairs that neither was trained on (8 more left out, which the latter has seen)" in sentence


def test_unlabelled_and_dev_pairs_do_not_count(store: Store) -> None:
    pairs = scored_pairs(80, 1, 2.0).with_columns(
        pl.when(pl.int_range(80) < 30).then(None).otherwise(pl.col("label")).alias("label"),
        pl.when(pl.int_range(80) >= 70).then(pl.lit("dev")).otherwise(pl.lit("test")).alias("split"),
    )
    found = compare(config_with(), store, add_run(store, pairs, name="a"), add_run(store, pairs, name="b"))
    assert (found.pairs, found.left_out) == (40, 0)


def test_too_few_pairs_give_no_verdict(store: Store) -> None:
    few = scored_pairs(29, 1, 2.0)
    found = compare(config_with(), store, add_run(store, few, name="a"), add_run(store, few, name="b"))
    assert found.problem == "29 labelled test pairs are left to compare on, fewer than 30"
    assert found.difference is None
    enough = compare(config_with(minimum_pairs=29), store, found.new_key, found.current_key)
    assert enough.problem is None


def test_one_class_gives_no_verdict(store: Store) -> None:
    pairs = scored_pairs(40, 1, 2.0).with_columns(pl.lit(1, pl.Int8).alias("label"))
    seen = scored_pairs(2, 1, 2.0, split="train")
    new, current = add_run(store, pairs, name="a"), add_run(store, pairs.tail(38), name="b", train=seen)
    assert compare(config_with(), store, new, current).problem == (
        "all 38 labelled test pairs that are left to compare on (without 2 pairs that the student in use was "
        "trained or tuned on) match"
    )


def test_nothing_left_gives_no_verdict(store: Store) -> None:
    pairs = scored_pairs(40, 1, 2.0)
    train = pairs.with_columns(pl.lit("train").alias("split"))
    current = add_run(store, scored_pairs(40, 1, 2.0, start=900), train=train)
    found = compare(config_with(), store, add_run(store, pairs), current)
    assert (found.pairs, found.left_out) == (0, 40)
    assert (found.problem or "").startswith("0 labelled test pairs are left to compare on (without 40 pairs")


def test_what_cannot_be_read_is_told(store: Store) -> None:
    new = add_run(store, scored_pairs(40, 1, 2.0), name="a")
    current = add_run(store, scored_pairs(40, 1, 2.0, start=1), name="b")
    prepared = store.manifest("export", current).inputs["prepare"]
    shutil.rmtree(store.path("prepare", prepared))
    with pytest.raises(
        FlipkdError, match="not known which pairs the student in use has not seen: no artifact prep"
    ):
        compare(config_with(), store, new, current)
    with (store.path("export", current) / "predictions.parquet").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    with pytest.raises(FlipkdError, match=rf"export/{current} is damaged \(predictions.parquet differs"):
        compare(config_with(), store, new, current)


# ------------------------------------------------------------------------------------- scores of real students


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Config, Store]:
    """Two runs over one store: the second night's file has more rows, and another seed, so its splits differ."""
    folder = tmp_path_factory.mktemp("nights")
    tiny_pairs(folder / "pairs.csv", ids=60)
    first = tiny_config(folder)
    second = tiny_config(
        folder, prepare={"inputs": [{"kind": "pairs", "path": str(folder / "more.csv"), "group": "question"}]}
    ).model_copy(update={"seed": 7})
    tiny_pairs(folder / "more.csv", ids=100)
    store = store_of(first)
    for config in (first, second):
        for step in plan(config):
            execute(step, config, store)
    return first, second, store


def test_it_loads_the_student_in_use_for_new_pairs_alone(
    nights: tuple[Config, Config, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, store = nights
    current_key, new_key = (plan(config)[-1].key for config in (first, second))
    scored: list[tuple[str, str]] = []
    original = module._score
    monkeypatch.setattr(
        module, "_score", lambda s, k, texts, *rest: scored.extend(texts) or original(s, k, texts, *rest)
    )
    config = second.model_copy(update={"promote": PromoteConfig(metric="f1", minimum_pairs=5)})
    found = compare(config, store, new_key, current_key)
    assert found.problem is None

    # Everything again, from the files and with the student as people load it.
    from sentence_transformers import SentenceTransformer

    export = store.path("export", current_key)
    seen = pl.read_parquet(store.path("prepare", plan(first)[0].key) / "pairs.parquet").filter(
        pl.col("split") != "test"
    )
    texts = {*seen["text_a"], *seen["text_b"]}
    test = pl.read_parquet(store.path("export", new_key) / "predictions.parquet").filter(split="test")
    kept = test.filter(
        pl.Series(
            [
                a not in texts and b not in texts and group not in set(seen["group"])
                for a, b, group in test.select("text_a", "text_b", "group").iter_rows()
            ]
        )
    )
    known = set(pl.read_parquet(export / "predictions.parquet")["pair_id"])
    assert found.left_out == test.height - kept.height > 0
    assert found.pairs == kept.height > 5
    assert (
        0 < found.scored_again == kept.filter(~pl.col("pair_id").is_in(known)).height == len(scored) < kept.height
    )
    pairs = list(zip(kept["text_a"], kept["text_b"], strict=True))
    student: Any = SentenceTransformer(str(export / "student"), trust_remote_code=True, device="cpu")[0]
    scores = student.match(pairs)["fused"]
    labels = kept["label"].to_numpy()
    thresholds = [store.path("export", key) / "student" / "decision.json" for key in (new_key, current_key)]
    new_threshold, threshold = (pl.read_json(path)["thresholds"][0]["fused"] for path in thresholds)
    assert found.current == pytest.approx(by_scikit("f1", labels, scores, threshold))
    assert found.new == pytest.approx(by_scikit("f1", labels, kept["fused"], new_threshold))


def test_it_loads_no_damaged_student(nights: tuple[Config, Config, Store], tmp_path: Path) -> None:
    first, second, original = nights
    store = Store(shutil.copytree(original.root, tmp_path / "store"))
    current_key, new_key = (plan(config)[-1].key for config in (first, second))
    weights = store.path("export", current_key) / "student" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    config = second.model_copy(update={"promote": PromoteConfig(minimum_pairs=5)})
    with pytest.raises(FlipkdError, match=r"damaged \(student/adapter_model.safetensors differs"):
        compare(config, store, new_key, current_key)
