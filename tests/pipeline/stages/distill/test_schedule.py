"""Which batch of what each step takes: the same for the same seed, every pair once an epoch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from data.errors import FlipkdError
from models.student.batching import length_batches
from pipeline.config.config import DistillConfig
from pipeline.stages.distill.pair_data import PairData
from pipeline.stages.distill.schedule import Work, linear_schedule, plan_work, pool_size, rate_share, steps

PAIRS, OVERHEAD = 300, 11


@pytest.fixture(scope="module")
def data() -> PairData:
    random = np.random.default_rng(0)
    texts = [[7] * n for n in random.gamma(2, 15, 200).astype(int) + 1]
    first, second = random.integers(200, size=(2, PAIRS))
    vectors = np.ones((200, 2), np.float32)
    return PairData(first, second, random.integers(2, size=PAIRS), texts, vectors, prompt_overhead=OVERHEAD)


def config(**changes: Any) -> DistillConfig:
    return DistillConfig.model_validate({"text_epochs": 0, "epochs": 1, "batch_tokens": 1500} | changes)


def prompts(data: PairData, rows: np.ndarray) -> np.ndarray:
    """Real tokens of each pair's prompts, one for each order."""
    return np.array([OVERHEAD + len(data.texts[data.first[i]]) + len(data.texts[data.second[i]]) for i in rows])


def plain(work: list[Work]) -> list[tuple[str, float, list[int]]]:
    return [(kind, epoch, rows.tolist()) for kind, epoch, rows in work]


def test_a_budget_counts_both_prompts_and_their_padding(data: PairData):
    work = list(plan_work(data, config(), 5, 1, 0))
    assert sorted(np.concatenate([rows for _, _, rows in work]).tolist()) == list(range(PAIRS))
    assert len(work) == sum(steps(data, config(), 1, 5))
    lengths = [prompts(data, rows) for _, _, rows in work]
    padded = [2 * len(row) * row.max() for row in lengths]
    assert all(tokens <= 1500 or len(row) == 2 for tokens, row in zip(padded, lengths, strict=True))
    real = sum(2 * row.sum() for row in lengths)
    random = np.array_split(np.random.default_rng(0).permutation(PAIRS), len(work))
    at_random = real / sum(2 * len(rows) * prompts(data, rows).max() for rows in random)
    assert at_random < 0.75
    assert real / sum(padded) > 0.85
    assert work[-1].epoch == 1.0


def test_batches_of_pairs_are_as_they_were(data: PairData):
    """Without a budget: the batches by length, epoch by epoch, as many as the config's epochs say."""
    asked = config(batch_tokens=None, epochs=1.5, batch_pairs=16)
    work = list(plan_work(data, asked, 5, 1, 0))
    whole = length_batches(data.lengths(), 16, 5, 0)
    assert steps(data, asked) == steps(data, asked, seed=9) == (0, -(-3 * len(whole) // 2))
    expected = [*whole, *length_batches(data.lengths(), 16, 5, 1)][: len(work)]
    assert [rows.tolist() for _, _, rows in work] == [rows.tolist() for rows in expected]


@pytest.mark.parametrize("tokens", [None, 1500])
def test_the_same_seed_gives_the_same_steps_and_goes_on_anywhere(data: PairData, tokens: int | None):
    asked = config(batch_tokens=tokens, epochs=2, text_epochs=1)
    work = plain(list(plan_work(data, asked, 5, 1, 0)))
    assert work == plain(list(plan_work(data, asked, 5, 1, 0)))
    assert work != plain(list(plan_work(data, asked, 6, 1, 0)))
    for done in (1, len(work) // 2, len(work) - 1):
        assert plain(list(itertools.islice(plan_work(data, asked, 5, 1, 0), done, None))) == work[done:]


@pytest.mark.parametrize("epochs", [0.3, 1, 2.5, 3])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_process_takes_as_many_steps(data: PairData, epochs: float, processes: int):
    asked = config(epochs=epochs, text_epochs=1)
    for seed in range(3):
        each = [list(plan_work(data, asked, seed, processes, rank)) for rank in range(processes)]
        assert {len(work) for work in each} == {sum(steps(data, asked, processes, seed))}
        taken = np.concatenate([rows for work in each for kind, _, rows in work if kind == "pairs"])
        counts = np.bincount(taken, minlength=PAIRS)
        # A round that the batches do not fill takes some again; no pair is left out of an epoch.
        assert counts.min() >= int(epochs)
        assert processes > 1 or counts.max() <= np.ceil(epochs)
        rounds = steps(data, asked, processes, seed)[1] / epochs
        assert epochs - 0.01 <= each[0][-1].epoch < epochs + 1 / rounds + 0.01


def test_linear_schedule_rises_then_falls_to_zero():
    shares = [linear_schedule(step, 3, 10) for step in range(11)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[10] == 0
    assert all(a > b for a, b in itertools.pairwise(shares[3:]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"text_epochs": 1, "batch_texts": 70},
            r"3 batches of texts, .* to 3 or less, or lower distill\.batch_te",
        ),
        ({"batch_tokens": None, "batch_pairs": 100}, r"3 batches of pairs, .*distill\.batch_pairs \(now 100\)"),
        ({"batch_tokens": 20_000}, r"[23] batches of pairs, .*distill\.batch_tokens \(now 20000\)"),
    ],
)
def test_more_processes_than_batches_can_serve_are_refused(data: PairData, changes: dict[str, Any], said: str):
    asked = config(**({"batch_tokens": None, "batch_pairs": 16} | changes))
    with pytest.raises(FlipkdError, match=rf"^distill\.processes is 8, and an epoch has {said}"):
        steps(data, asked, 8, 5)
    with pytest.raises(FlipkdError):
        next(plan_work(data, asked, 5, 8, 7))
    assert sum(steps(data, asked, 1, 5)) == len(list(plan_work(data, asked, 5, 1, 0)))


def test_a_round_that_is_half_full_takes_each_batch_twice(data: PairData):
    asked = config(batch_tokens=None, batch_pairs=100)
    each = [list(plan_work(data, asked, 5, 6, rank)) for rank in range(6)]
    assert [len(work) for work in each] == [1] * 6
    counts = np.bincount(np.concatenate([work[0].rows for work in each]), minlength=PAIRS)
    assert set(counts.tolist()) == {2}


def test_apart_the_rate_rises_and_falls_for_texts_and_again_for_pairs() -> None:
    apart, together = (config(decay=decay, warmup_ratio=0.1) for decay in ("apart", "together"))
    shares = [rate_share(step, apart, 20, 50) for step in range(70)]
    assert shares[:20] == [linear_schedule(step, 2, 20) for step in range(20)]
    assert shares[20:] == [linear_schedule(step, 5, 50) for step in range(50)]
    assert (shares[2], shares[25], max(shares)) == (1, 1, 1)
    once = [rate_share(step, together, 20, 50) for step in range(70)]
    assert once == [linear_schedule(step, 7, 70) for step in range(70)]
    assert [rate_share(step, apart, 0, 50) for step in range(50)] == shares[20:]


@pytest.mark.parametrize("tokens", [None, 1500])
def test_a_budget_of_pairs_shows_others_in_each_pass_until_all_were_seen(data: PairData, tokens: int | None):
    asked = config(batch_tokens=tokens, epochs=6, pairs=100)
    passes: dict[int, list[int]] = {}
    work = list(plan_work(data, asked, 5, 1, 0))
    for _, epoch, rows in work:
        passes.setdefault(math.ceil(epoch) - 1, []).extend(rows.tolist())
    assert [len(set(rows)) for rows in passes.values()] == [100] * 6 == [len(rows) for rows in passes.values()]
    for begin in (0, 3):  # 300 pairs: three passes see each of them once
        assert sorted(passes[begin] + passes[begin + 1] + passes[begin + 2]) == list(range(PAIRS))
    assert set(passes[0]) != set(passes[3])
    assert len(work) == sum(steps(data, asked, 1, 5))


def test_the_pool_is_what_a_training_draws_from():
    assert pool_size(config()) is None
    assert pool_size(config(pairs=100, epochs=2.5)) == 300
    assert pool_size(config(pairs={"count": 100, "drawn": "once"}, epochs=2.5)) == 100


def test_a_budget_above_the_pairs_changes_nothing(data: PairData):
    asked = config(epochs=2)
    assert plain(list(plan_work(data, asked, 5, 1, 0))) == plain(
        list(plan_work(data, config(epochs=2, pairs=PAIRS), 5, 1, 0))
    )
