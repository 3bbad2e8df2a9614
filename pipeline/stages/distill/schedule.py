"""What a training run does in each step: which batch of what, and how fast it learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from data.errors import FlipkdError
from models.student.batching import length_batches, token_budget_batches
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.objective import weights
from pipeline.stages.distill.pair_data import PairData


class Work(NamedTuple):
    """One step of one process: a batch of texts alone or of pairs, and how far its epoch is."""

    kind: Literal["texts", "pairs"]
    epoch: float
    rows: np.ndarray


def steps(data: PairData, config: DistillConfig, processes: int = 1, seed: int = 0) -> tuple[int, int]:
    """Optimiser steps on texts alone, and on pairs; every process takes a batch in each.

    Args:
        seed: of the run. With `batch_tokens` the number of batches differs a little between epochs and seeds.

    Raises:
        FlipkdError: an epoch has too few batches for so many processes.
    """
    if not weights(config):
        return 0, 0
    texts = pairs = 0
    if "dist" in weights(config) and config.text_epochs:
        batches = len(epoch_batches(data, config, "texts", 0, 0))
        _check_processes(batches, processes, "texts", f"distill.batch_texts (now {config.batch_texts})")
        texts = math.ceil(config.text_epochs * batches / processes)
    if config.batch_tokens is None:
        batches = len(epoch_batches(data, config, "pairs", 0, 0))
        _check_processes(batches, processes, "pairs", f"distill.batch_pairs (now {config.batch_pairs})")
        pairs = math.ceil(config.epochs * batches / processes)
    else:
        pairs = _budgeted_steps(data, config, processes, seed)
    return texts, max(1, pairs)


def _budgeted_steps(data: PairData, config: DistillConfig, processes: int, seed: int) -> int:
    """Steps on pairs under a budget of tokens: the rounds of every whole epoch, and a share of the last one's."""
    whole, share = divmod(config.epochs, 1)
    batches = [len(epoch_batches(data, config, "pairs", seed, epoch)) for epoch in range(math.ceil(config.epochs))]
    _check_processes(min(batches), processes, "pairs", f"distill.batch_tokens (now {config.batch_tokens})")
    rounds = [math.ceil(count / processes) for count in batches]
    return sum(rounds[: int(whole)]) + (math.ceil(share * rounds[-1]) if share else 0)


def _check_processes(batches: int, processes: int, kind: str, batch_size: str) -> None:
    """The last round of an epoch takes its first batches again, each once: more than half must be there."""
    if 2 * batches < processes:
        raise FlipkdError(
            f"distill.processes is {processes}, and an epoch has {batches} batches of {kind}, which is less than "
            f"half of it; set distill.processes to {batches} or less, or lower {batch_size}"
        )


def plan_work(data: PairData, config: DistillConfig, seed: int, processes: int, rank: int) -> Iterator[Work]:
    """All steps of one process: first the texts, then the pairs. The same seed gives the same steps."""
    on_texts, on_pairs = steps(data, config, processes, seed)
    yield from _passes(data, config, "texts", seed, processes, rank, on_texts)
    yield from _passes(data, config, "pairs", seed, processes, rank, on_pairs)


def _passes(
    data: PairData,
    config: DistillConfig,
    kind: Literal["texts", "pairs"],
    seed: int,
    processes: int,
    rank: int,
    count: int,
) -> Iterator[Work]:
    done, epoch = 0, 0
    while done < count:
        batches = epoch_batches(data, config, kind, seed, epoch)
        # Every process needs as many batches as the others: the first ones fill the last round.
        batches += batches[: -len(batches) % processes]
        rounds = len(batches) // processes
        for index in range(min(rounds, count - done)):
            yield Work(kind, epoch + (index + 1) / rounds, batches[index * processes + rank])
        done += rounds
        epoch += 1


def epoch_batches(data: PairData, config: DistillConfig, kind: str, seed: int, epoch: int) -> list[np.ndarray]:
    """Rows of the batches of one pass over `texts` or `pairs`."""
    if kind == "texts":
        return length_batches([len(text) for text in data.texts], config.batch_texts, seed, epoch)
    rows = drawn_pairs(len(data.targets), config, seed, epoch)
    lengths = np.asarray(data.lengths())[rows]
    if config.batch_tokens is not None:
        two_prompts = (2 * (data.prompt_overhead + lengths)).tolist()
        batches = token_budget_batches(two_prompts, config.batch_tokens, seed, epoch)
    else:
        batches = length_batches(lengths.tolist(), config.batch_pairs, seed, epoch)
    return [rows[batch] for batch in batches]


def pool_size(config: DistillConfig) -> int | None:
    """How many kept pairs a whole training sees under `distill.pairs`; None for all of them."""
    if config.pairs is None:
        return None
    return config.pairs.count * (math.ceil(config.epochs) if config.pairs.drawn == "each_epoch" else 1)


def drawn_pairs(pairs: int, config: DistillConfig, seed: int, epoch: int) -> np.ndarray:
    """The pairs of one pass, sorted: all, or as many as `distill.pairs` says, none again before all were seen.

    Args:
        pairs: how many there are. seed, epoch: decide which; the same two give the same pairs.
    """
    if config.pairs is None or config.pairs.count >= pairs:
        return np.arange(pairs)
    count = config.pairs.count
    round_, turn = divmod(epoch, pairs // count)  # what one round leaves over may be drawn in the next
    order = np.random.default_rng((seed, round_, pairs)).permutation(pairs)
    return np.sort(order[turn * count : (turn + 1) * count])


def rate_share(step: int, config: DistillConfig, on_texts: int, on_pairs: int) -> float:
    """Share of the peak learning rate for the update after `step` steps, in (0, 1]."""
    total = on_texts + on_pairs
    if config.decay == "apart":
        step, total = (step, on_texts) if step < on_texts else (step - on_texts, on_pairs)
    return linear_schedule(step, math.ceil(config.warmup_ratio * total), total)


def linear_schedule(step: int, warm: int, total: int) -> float:
    """Share of the peak learning rate for the update after `step` steps: up over `warm` steps, then down to 0."""
    if step < warm:
        return (step + 1) / (warm + 1)
    return (total - step) / max(total - warm, 1)
