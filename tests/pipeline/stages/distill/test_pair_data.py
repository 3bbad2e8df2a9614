"""What the training reads: the teacher's probabilities for soft targets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from transformers import AutoTokenizer

from models.student.flipkd_student import PairPrompt
from pipeline.evaluation.metrics import calibrate, fit_calibration
from pipeline.stages.distill.pair_data import TEXT_IDS, PairData, read_pairs
from tests.tiny import tiny_student


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> PairPrompt:
    tokenizer = AutoTokenizer.from_pretrained(tiny_student(tmp_path_factory.mktemp("models") / "student"))
    return PairPrompt(tokenizer, "{a} {b}", (" no", " yes"), 16)


def write(folder: Path, labels: list[int | None]) -> tuple[Path, Path, pl.DataFrame]:
    """120 pairs whose teacher scores overlap; the filter cuts them at 0.5; the last ten are dev."""
    random = np.random.default_rng(0)
    n = len(labels)
    truth = random.integers(0, 2, n)
    score = np.clip(random.normal(0.3 + 0.35 * truth, 0.2), -1, 1).astype(np.float32)
    frame = pl.DataFrame(
        {
            "split": ["train"] * (n - 10) + ["dev"] * 10,
            "label": pl.Series(
                [None if y is None else int(t) for y, t in zip(labels, truth, strict=True)], dtype=pl.Int8
            ),
            "target": pl.Series((score > 0.5).astype(np.int8)),
            "kept": [y is None or bool((s > 0.5) == t) for y, s, t in zip(labels, score, truth, strict=True)],
            "teacher_score": score,
            "text_a_id": range(n),
            "text_b_id": [(k + 1) % n for k in range(n)],
        }
    )
    frame.write_parquet(folder / "filtered.parquet")
    vectors = random.normal(size=(n, 3)).astype(np.float32)
    schema = {"text_id": pl.Int64, "text": pl.String, "embedding": pl.Array(pl.Float32, 3)}
    texts = [f"text {k}" for k in range(n)]
    table = pl.DataFrame({"text_id": range(n), "text": texts, "embedding": list(vectors)}, schema=schema)
    table.write_parquet(folder / "embeddings.parquet")
    return folder / "filtered.parquet", folder / "embeddings.parquet", frame


def test_probabilities_are_platts_over_all_labelled_pairs_of_train(prompt: PairPrompt, tmp_path: Path):
    filtered, embeddings, frame = write(tmp_path, [0] * 90 + [None] * 20 + [0] * 10)
    data, dev = read_pairs(filtered, embeddings, prompt, calibrated=True)
    train = frame.filter(split="train")
    labelled, kept = train.drop_nulls("label"), train.filter("kept")
    assert 0 < kept.height < train.height
    x, y = labelled["teacher_score"].to_numpy().astype(np.float64), labelled["label"].to_numpy()
    positive, negative = int(y.sum()), int((1 - y).sum())
    target = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def cost(line: np.ndarray) -> float:
        logit = line[0] + line[1] * x
        return float(np.sum(np.logaddexp(0, logit) - target * logit))

    intercept, slope = minimize(cost, np.zeros(2)).x
    expected = 1 / (1 + np.exp(-(intercept + slope * kept["teacher_score"].to_numpy())))
    assert data.probabilities is not None
    np.testing.assert_allclose(data.probabilities, expected, atol=2e-3)
    assert np.array_equal(data.targets, kept["target"].to_numpy())
    # Higher scores are likelier matches, and the filter's clean cut has not made the teacher certain.
    order = np.argsort(kept["teacher_score"].to_numpy(), kind="stable")
    assert (np.diff(data.probabilities[order]) >= 0).all()
    assert ((data.probabilities > 0.1) & (data.probabilities < 0.9)).any()
    assert dev.probabilities is None


def test_nobody_asks_nobody_needs_the_scores(prompt: PairPrompt, tmp_path: Path):
    filtered, embeddings, frame = write(tmp_path, [0] * 120)
    frame.drop("teacher_score").write_parquet(filtered)
    assert read_pairs(filtered, embeddings, prompt)[0].probabilities is None


def test_without_labels_in_train_the_probabilities_are_calibrated_on_dev(prompt: PairPrompt, tmp_path: Path):
    filtered, embeddings, frame = write(tmp_path, [None] * 110 + [0] * 10)
    data, _ = read_pairs(filtered, embeddings, prompt, calibrated=True)
    dev = frame.filter(split="dev")
    fitted = fit_calibration(dev["label"].to_numpy(), dev["teacher_score"].to_numpy())
    kept = frame.filter((pl.col("split") == "train") & pl.col("kept"))
    assert data.probabilities is not None
    np.testing.assert_allclose(data.probabilities, calibrate(fitted, kept["teacher_score"].to_numpy()), atol=1e-6)


def test_texts_of_pairs_that_are_not_kept_are_read_alone(prompt: PairPrompt, tmp_path: Path):
    filtered, embeddings, frame = write(tmp_path, [0] * 90 + [None] * 20 + [0] * 10)
    frame = frame.with_columns(kept=pl.col("kept") & (pl.col("text_a_id") % 5 == 0))
    frame.write_parquet(filtered)
    kept, dev = read_pairs(filtered, embeddings, prompt)
    data, same_dev = read_pairs(filtered, embeddings, prompt, all_texts=True)
    assert len(kept.unpaired) == 0
    assert same_dev.texts == dev.texts
    train = frame.filter(split="train")
    ids = sorted({*train["text_a_id"], *train["text_b_id"]})
    assert len(data.texts) == len(ids) > len(kept.texts)
    table = pl.read_parquet(embeddings).filter(pl.col("text_id").is_in(ids)).sort("text_id")
    assert data.texts == prompt.texts(table["text"].to_list())
    assert np.array_equal(data.vectors, table["embedding"].to_numpy())
    # The same pairs of the same texts as without.
    assert [data.texts[i] for i in data.first] == [kept.texts[i] for i in kept.first]
    assert [data.texts[i] for i in data.second] == [kept.texts[i] for i in kept.second]
    assert set(data.unpaired) == set(range(len(ids))) - {*data.first, *data.second}
    n = len(data.first)
    for row, begins in enumerate(data.begins):
        if row in data.unpaired:
            assert begins == 2 * n + data.unpaired.tolist().index(row)
        else:
            assert row == (data.first[begins] if begins < n else data.second[begins - n])


@pytest.mark.parametrize("all_texts", [False, True])
def test_texts_that_stand_in_no_pair_are_read_alone(prompt: PairPrompt, tmp_path: Path, all_texts: bool):
    filtered, embeddings, _ = write(tmp_path, [0] * 90 + [None] * 20 + [0] * 10)
    without, _ = read_pairs(filtered, embeddings, prompt, all_texts=all_texts)
    table = pl.read_parquet(embeddings)
    train = pl.read_parquet(filtered).filter(split="train")
    others = sorted(set(table["text_id"]) - {*train["text_a_id"], *train["text_b_id"]})
    assert len(others) > 3
    more = [*others[:3], train["text_a_id"][0]]  # one of them stands in a pair too
    pl.DataFrame({"text_id": sorted(more)}, schema={"text_id": pl.Int64}).write_parquet(tmp_path / "texts.parquet")
    unread, _ = read_pairs(filtered, embeddings, prompt, all_texts=all_texts)
    assert unread.texts == without.texts
    data, _ = read_pairs(filtered, embeddings, prompt, all_texts=all_texts, more_texts=True)
    assert len(data.texts) == len(without.texts) + 3
    assert [data.texts[i] for i in data.first] == [without.texts[i] for i in without.first]
    own = table.filter(pl.col("text_id").is_in(others[:3])).sort("text_id")
    places = [data.texts.index(ids) for ids in prompt.texts(own["text"].to_list())]
    assert np.array_equal(data.vectors[places], own["embedding"].to_numpy())


def test_a_limit_takes_so_many_kept_pairs_with_their_own_probabilities(prompt: PairPrompt, tmp_path: Path):
    filtered, embeddings, _ = write(tmp_path, [0] * 90 + [None] * 20 + [0] * 10)
    every, dev = read_pairs(filtered, embeddings, prompt, calibrated=True)
    few, same_dev = read_pairs(filtered, embeddings, prompt, calibrated=True, limit=30, seed=4)
    assert every.probabilities is not None
    assert few.probabilities is not None

    def pairs(data: PairData) -> list[tuple[list[int], list[int], int]]:
        return [
            (data.texts[a], data.texts[b], t)
            for a, b, t in zip(data.first, data.second, data.targets, strict=True)
        ]

    known = dict(zip(map(str, pairs(every)), every.probabilities.tolist(), strict=True))
    assert len(pairs(few)) == 30
    assert [known[str(pair)] for pair in pairs(few)] == few.probabilities.tolist()
    assert pairs(same_dev) == pairs(dev)
    other, _ = read_pairs(filtered, embeddings, prompt, limit=30, seed=5)
    assert pairs(other) != pairs(few)
    assert pairs(read_pairs(filtered, embeddings, prompt, limit=5000)[0]) == pairs(every)


def test_matches_of_other_batches_are_known(prompt: PairPrompt, tmp_path: Path):
    """Entry by entry: what is no negative in a batch of few pairs, by the labels of all of train."""
    filtered, embeddings, frame = write(tmp_path, [0] * 120)
    random = np.random.default_rng(3)
    few = {name: random.integers(0, 12, 110).tolist() + list(range(100, 110)) for name in TEXT_IDS}
    frame = frame.with_columns(pl.Series(name, ids) for name, ids in few.items())
    frame.write_parquet(filtered)
    train = frame.filter(split="train")
    matches = {frozenset(pair) for pair in train.filter(label=1).select(TEXT_IDS).iter_rows()}
    kept = train.filter("kept")
    data, _ = read_pairs(filtered, embeddings, prompt, known_matches=True)
    plain, _ = read_pairs(filtered, embeddings, prompt)
    rows = np.arange(0, kept.height, 9)
    a, b = (kept[name].to_numpy()[rows] for name in TEXT_IDS)
    expected = [[i == j or frozenset((i, j)) in matches for j in b.tolist()] for i in a.tolist()]
    assert data.same(rows).tolist() == expected
    assert plain.same(rows).sum() < data.same(rows).sum()


def test_grades_stand_beside_the_pairs_that_are_kept(prompt: PairPrompt, tmp_path: Path):
    filtered, embeddings, _ = write(tmp_path, [0, 1] * 60)
    rows = pl.read_parquet(filtered).with_columns(pair_id=pl.format("p{}", pl.int_range(pl.len())))
    rows.write_parquet(filtered)
    assert read_pairs(filtered, embeddings, prompt)[0].grades is None
    kept = rows.filter("kept", split="train")
    judged = kept[::3].select("pair_id", grade=pl.int_range(pl.len(), dtype=pl.Int32) % 4)
    data, dev = read_pairs(filtered, embeddings, prompt, judged=judged.sample(fraction=1, shuffle=True, seed=1))
    known = dict(judged.iter_rows())
    expected = [known.get(pair, np.nan) for pair in kept["pair_id"]]
    assert data.grades is not None
    np.testing.assert_array_equal(data.grades, np.array(expected, np.float32))
    assert dev.grades is None


def test_texts_beyond_the_students_window_are_named(
    prompt: PairPrompt, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    filtered, embeddings, _ = write(tmp_path, [0] * 120)
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        assert read_pairs(filtered, embeddings, prompt)[0].cut is None
    assert "longer than distill.max_length" not in caplog.text
    table = pl.read_parquet(embeddings)
    long = pl.when(pl.col("text_id") < 3).then(pl.col("text") + " my card" * 20).otherwise("text")
    table.with_columns(text=long).write_parquet(embeddings)
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        data, dev = read_pairs(filtered, embeddings, prompt)
    assert "texts are longer than distill.max_length (16 tokens)" in caplog.text
    whole = pl.read_parquet(embeddings).sort("text_id")["text"][:3]
    lengths = [len(prompt.tokenizer(prompt.lead + text, add_special_tokens=False).input_ids) for text in whole]
    assert data.cut == {"texts": 3, "tokens": sum(lengths) - 3 * 16}
    assert dev.cut is not None
