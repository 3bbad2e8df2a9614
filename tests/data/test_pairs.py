from __future__ import annotations

import hashlib
import itertools
import resource
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.pairs import build_pairs, confusion, round_robin, shares_of_whole

DEFAULTS: dict[str, Any] = {
    "positives_per_id": 12, "negatives_per_positive": 1.0, "random_share": 0.2, "confusable_ids": 2, "seed": 3,
}  # fmt: skip


def utterances(sizes: dict[tuple[str, str], int]) -> pl.DataFrame:
    """So many texts for each (split, id)."""
    rows = [
        (f"{split} {name} {n}", f"{split}{name}{n}", name, split)
        for (split, name), count in sizes.items()
        for n in range(count)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(["text", "key", "id", "split"], pl.String), orient="row")


def unit(rows: int, seed: int = 0, dimension: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def keys(frame: pl.DataFrame, pairs: pl.DataFrame) -> list[tuple[str, str, int]]:
    key = frame["key"].to_list()
    return [(key[a], key[b], label) for a, b, label in pairs.iter_rows()]


sizes = st.dictionaries(
    st.tuples(st.sampled_from(["train", "dev", "test"]), st.sampled_from("abcd")), st.integers(1, 7), min_size=1
)
options = st.fixed_dictionaries(
    {
        "positives_per_id": st.integers(1, 9),
        "measured_per_id": st.none() | st.integers(1, 4),
        "negatives_per_positive": st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        "random_share": st.sampled_from([0.0, 0.3, 1.0]),
        "confusable_ids": st.integers(1, 5),
        "seed": st.integers(0, 5),
    }
)


@settings(deadline=None)
@given(sizes, options, st.booleans())
def test_invariants(sizes: dict[tuple[str, str], int], options: dict[str, Any], with_encoder: bool) -> None:
    frame = utterances(sizes)
    pairs = build_pairs(frame, unit(frame.height) if with_encoder else None, **options)
    seen, positives = set(), Counter()
    for a, b, label in pairs.iter_rows():
        first, second = frame.row(a, named=True), frame.row(b, named=True)
        assert first["split"] == second["split"]
        assert first["key"] != second["key"]
        assert (first["id"] == second["id"]) == bool(label)
        assert frozenset((a, b)) not in seen
        seen.add(frozenset((a, b)))
        positives[first["split"], first["id"]] += label
    for place, n in sizes.items():
        cap = options["positives_per_id"]
        if place[0] != "train" and options["measured_per_id"]:
            cap = options["measured_per_id"]
        assert positives[place] == min(n * (n - 1) // 2, cap)
    negatives = (pairs["label"] == 0).sum()
    assert negatives <= sum(positives.values()) * options["negatives_per_positive"] + 2


def test_row_order_does_not_matter_and_seeds_do() -> None:
    frame = utterances({("train", name): 8 for name in "abcde"})
    vectors = unit(frame.height)
    order = np.random.default_rng(5).permutation(frame.height)
    pairs = keys(frame, build_pairs(frame, vectors, **DEFAULTS))
    assert keys(frame[order], build_pairs(frame[order], vectors[order], **DEFAULTS)) == pairs
    assert keys(frame, build_pairs(frame, vectors, **DEFAULTS | {"seed": 4})) != pairs


def test_counts() -> None:
    frame = utterances({("train", name): 8 for name in "abcde"})
    options = DEFAULTS | {"positives_per_id": 10, "negatives_per_positive": 1.5}
    labels = build_pairs(frame, unit(frame.height), **options)["label"]
    assert (labels.sum(), len(labels) - labels.sum()) == (50, 75)


def test_hard_negatives_come_from_the_most_confused_ids() -> None:
    """Four ids on a circle: a is near b, c near d; all hard negatives must stay inside those couples."""
    frame = utterances({("train", name): 6 for name in "abcd"})
    angle = np.repeat([0.0, 0.3, 2.0, 2.3], 6) + np.tile(np.linspace(0, 0.05, 6), 4)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    options = DEFAULTS | {"random_share": 0.0, "confusable_ids": 1, "positives_per_id": 6}
    pairs = build_pairs(frame, vectors, **options).filter(pl.col("label") == 0)
    ids = frame["id"]
    assert {frozenset((ids[a], ids[b])) for a, b, _ in pairs.iter_rows()} == {frozenset("ab"), frozenset("cd")}
    # Every text of an id gets its turn: six texts, six negatives.
    assert Counter(a for a, _, _ in pairs.iter_rows() if ids[a] == "a") == Counter(range(6))


def test_random_negatives_reach_every_other_id() -> None:
    frame = utterances({("train", name): 10 for name in "abcdef"})
    pairs = build_pairs(frame, unit(60), **DEFAULTS | {"random_share": 1.0, "positives_per_id": 40})
    ids = frame["id"]
    negatives = {(ids[a], ids[b]) for a, b, label in pairs.iter_rows() if not label}
    assert negatives == set(itertools.permutations("abcdef", 2))


def test_a_text_under_two_ids_contradicts_neither() -> None:
    frame = pl.DataFrame(
        {
            "text": ["x", "y", "x", "z"],
            "key": ["x", "y", "x", "z"],
            "id": ["a", "a", "b", "b"],
            "split": ["train"] * 4,
        }
    )
    pairs = keys(frame, build_pairs(frame, unit(4), **DEFAULTS))
    assert {frozenset(p[:2]): p[2] for p in pairs} == {
        frozenset("xy"): 1, frozenset("xz"): 1, frozenset("yz"): 0,
    }  # fmt: skip


def test_one_id_alone_has_positives_only() -> None:
    assert build_pairs(utterances({("dev", "a"): 4}), unit(4), **DEFAULTS)["label"].to_list() == [1] * 6


def test_confusion_against_loops() -> None:
    vectors, starts = unit(9), np.array([0, 2, 5, 9])
    expected = [
        np.mean([max(float(vectors[i] @ vectors[j]) for j in range(starts[k], starts[k + 1])) for i in (2, 3, 4)])
        for k in range(3)
    ]
    np.testing.assert_allclose(confusion(vectors, range(2, 5), starts), expected, rtol=1e-5)


@pytest.mark.parametrize("count", range(8))
def test_round_robin_makes_every_pair_once_and_uses_all_texts_first(count: int) -> None:
    pairs = list(round_robin(range(count)))
    assert Counter(map(frozenset, pairs)) == Counter(map(frozenset, itertools.combinations(range(count), 2)))
    first_round = pairs[: count // 2]
    assert len({player for pair in first_round for player in pair}) == count // 2 * 2


@given(st.lists(st.floats(0, 50), max_size=20))
def test_rounding_keeps_the_total(amounts: list[float]) -> None:
    whole = shares_of_whole(amounts)
    assert sum(whole) == pytest.approx(sum(amounts), abs=0.500001)
    assert all(abs(w - a) < 1.000001 for w, a in zip(whole, amounts, strict=True))


# Drawn by the code of 2026-11-24, which held a permutation for each text.
@pytest.mark.parametrize(
    ("seed", "ids", "per_id", "settings", "expected"),
    [
        (0, 6, 40, (12, 1.0, 0.2, 3), "288 3ff4b06998e5c29f"),
        (1, 2, 60, (200, 5.0, 0.0, 1), "1700 b13e31ed7cfcea8e"),
        (2, 9, 24, (6, 20.0, 0.1, 2), "3383 6db2af5810bcb01d"),
        (3, 3, 50, (500, 20.0, 0.0, 2), "4182 336955d36f36d06a"),
    ],
)
def test_the_pairs_of_earlier_versions(
    seed: int, ids: int, per_id: int, settings: tuple[int, float, float, int], expected: str
) -> None:
    """A store keeps its pairs; where all partners of a text are asked for too."""
    random, count = np.random.default_rng(seed), ids * per_id
    splits = ["train", "dev", "test", "train"] * (count // 4) + ["train"] * (count % 4)
    frame = pl.DataFrame(
        {
            "text": [f"text {n}" for n in range(count)],
            "key": [f"{n * 7919 % count:08d}" for n in range(count)],
            "id": [f"id {n % ids}" for n in range(count)],
            "split": splits,
        }
    )
    vectors = random.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    positives, negatives, share, confusable = settings
    pairs = build_pairs(
        frame, vectors, positives_per_id=positives, negatives_per_positive=negatives, random_share=share,
        confusable_ids=confusable, seed=seed,
    )  # fmt: skip
    assert f"{pairs.height} {hashlib.sha256(pairs.write_csv().encode()).hexdigest()[:16]}" == expected


def test_two_ids_of_twenty_thousand_texts_each() -> None:
    """A permutation for each text were 4e8 numbers, 14 GB of Python integers."""
    many = 20_000
    frame = pl.DataFrame(
        {
            "text": [f"t{n}" for n in range(2 * many)],
            "key": [f"{n:08d}" for n in range(2 * many)],
            "id": ["a", "b"] * many,
            "split": "train",
        }
    )
    random = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = build_pairs(frame, random.normal(size=(2 * many, 4)).astype(np.float32), **DEFAULTS)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # MB; Linux counts in kB
    assert pairs["label"].value_counts().sort("label")["count"].to_list() == [pairs.height // 2] * 2
    assert len({frozenset(pair) for pair in pairs.select("a", "b").iter_rows()}) == pairs.height > 0
    assert grown < 1000
