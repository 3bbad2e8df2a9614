"""Pairs from utterances: texts of one id match, texts of two ids do not.

Nothing here crosses a split, pairs a text with itself or makes a pair twice, in either direction.

Positives of an id are taken round by round from a round-robin tournament of its shuffled texts (circle method):
each round pairs every text once, so that a cap takes all texts before it takes any of them again.

Negatives are hard where the given encoder confuses two ids. How much it confuses X with Y is the mean over X's
texts of the largest cosine to a text of Y: a near text counts even if the ids' centres lie apart. Each of X's
texts in turn is paired with a random text of the ids most confused with X; a share of the negatives comes from
any other id.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from data.texts import stable_seed

_BLOCK_ROWS = 1024
_TRIES_PER_RANDOM_PAIR = 50
_PARTNERS_HELD = 16


@dataclass(frozen=True)
class _Texts:
    """The utterances of one split, sorted by id.

    Attributes:
        ids: each id once, in order.
        keys: `text_key` of each text, n of them.
        ids_of: all ids that a text stands under, by key; more than one if contradictions are kept.
        starts: where each id's texts start, with n at the end, shape (ids + 1,).
        vectors: unit vectors, shape (n, d).
        taken: the pairs made so far, as sorted keys.
    """

    ids: list[str]
    keys: list[str]
    ids_of: dict[str, set[str]]
    starts: np.ndarray
    vectors: np.ndarray | None
    taken: set[tuple[str, str]] = field(default_factory=set)

    def members(self, number: int) -> range:
        return range(int(self.starts[number]), int(self.starts[number + 1]))

    def take(self, a: int, b: int, label: int) -> bool:
        """Take a pair unless it is no pair, contradicts an id, or is taken."""
        first, second = sorted((self.keys[a], self.keys[b]))
        common = bool(self.ids_of[first] & self.ids_of[second])
        if first == second or common != bool(label) or (first, second) in self.taken:
            return False
        self.taken.add((first, second))
        return True


def build_pairs(
    utterances: pl.DataFrame,
    vectors: np.ndarray | None,
    *,
    positives_per_id: int,
    negatives_per_positive: float,
    random_share: float,
    confusable_ids: int,
    seed: int,
    measured_per_id: int | None = None,
) -> pl.DataFrame:
    """Build pairs from utterances.

    Args:
        utterances: `text`, `key` (`data.texts.text_key`), `id`, `split`.
        vectors: unit vectors of the rows' texts from the encoder whose confusions count, shape (rows, d), float32.
            None draws all negatives at random.
        positives_per_id: cap per id and split. measured_per_id: in dev and test, if another one.
        negatives_per_positive: an id gets this many negatives for each of its positives, on average exactly.
        random_share: share of the negatives from any other id, 0 to 1.
        confusable_ids: how many of the most confused ids the others come from.
        seed: of every choice. The order of the rows does not matter.

    Returns:
        `a`, `b` (row numbers into `utterances`), `label` (Int8). For a negative, `a` belongs to the id whose
        confusions were asked. Fewer negatives than asked for where a split has no more.
    """
    numbered = utterances.with_row_index("number")
    frames = [pl.DataFrame(schema={"a": pl.Int64, "b": pl.Int64, "label": pl.Int8})]
    for (split,), part in numbered.sort("split", "id", "key").group_by("split", maintain_order=True):
        rows = part["number"].to_numpy()
        cap = positives_per_id if split == "train" else measured_per_id or positives_per_id
        texts = _texts(part, None if vectors is None else vectors[rows])
        chosen = [
            (int(rows[a]), int(rows[b]), label)
            for a, b, label in _pairs_of_split(
                texts,
                positives_per_id=cap,
                negatives_per_positive=negatives_per_positive,
                random_share=1.0 if vectors is None else random_share,
                confusable_ids=confusable_ids,
                seed=stable_seed(seed, "pairs", str(split)),
            )
        ]
        frames.append(pl.DataFrame(chosen, schema=frames[0].schema, orient="row"))
    return pl.concat(frames)


def _texts(part: pl.DataFrame, vectors: np.ndarray | None) -> _Texts:
    lengths = part.group_by("id", maintain_order=True).len()
    ids_of: dict[str, set[str]] = {}
    for key, identity in part.select("key", "id").iter_rows():
        ids_of.setdefault(key, set()).add(identity)
    starts = np.concatenate([[0], np.cumsum(lengths["len"].to_numpy())]).astype(np.int64)
    return _Texts(lengths["id"].to_list(), part["key"].to_list(), ids_of, starts, vectors)


def _pairs_of_split(
    texts: _Texts,
    *,
    positives_per_id: int,
    negatives_per_positive: float,
    random_share: float,
    confusable_ids: int,
    seed: int,
) -> Iterator[tuple[int, int, int]]:
    generators = [np.random.default_rng(stable_seed(seed, identity)) for identity in texts.ids]
    positives = []
    for number, generator in enumerate(generators):
        order = generator.permutation(np.array(texts.members(number))).tolist()
        candidates = (pair for pair in round_robin(order) if texts.take(*pair, 1))
        found = list(itertools.islice(candidates, positives_per_id))
        positives.append(len(found))
        yield from ((a, b, 1) for a, b in found)
    if len(texts.ids) < 2:
        return
    wanted = shares_of_whole([count * negatives_per_positive for count in positives])
    at_random = shares_of_whole([count * random_share for count in wanted])
    for number, generator in enumerate(generators):
        hard: list[tuple[int, int]] = []
        if wanted[number] > at_random[number]:
            candidates = (
                p for p in _hard_candidates(texts, number, confusable_ids, generator) if texts.take(*p, 0)
            )
            hard = list(itertools.islice(candidates, wanted[number] - at_random[number]))
        needed = wanted[number] - len(hard)
        tries = itertools.islice(_random_candidates(texts, number, generator), needed * _TRIES_PER_RANDOM_PAIR)
        easy = itertools.islice((p for p in tries if texts.take(*p, 0)), needed)
        yield from ((a, b, 0) for a, b in itertools.chain(hard, easy))


def round_robin(players: Sequence[int]) -> Iterator[tuple[int, int]]:
    """All pairs of a tournament, round by round; in a round everybody plays once (one rests if they are odd)."""
    circle: list[int | None] = [*players] if len(players) % 2 == 0 else [*players, None]
    for _ in range(len(circle) - 1):
        for a, b in zip(circle[: len(circle) // 2], reversed(circle), strict=False):
            if a is not None and b is not None:
                yield a, b
        circle = [circle[0], circle[-1], *circle[1:-1]]


def shares_of_whole(amounts: Sequence[float]) -> list[int]:
    """Whole numbers near the amounts, with the total that the amounts have (rounded)."""
    totals = np.concatenate([[0.0], np.cumsum(np.asarray(amounts, float))])
    return np.diff(np.floor(totals + 0.5)).astype(int).tolist()


def confusion(vectors: np.ndarray, rows: range, starts: np.ndarray) -> np.ndarray:
    """How much the texts of one id are confused with each id's: mean over the texts of the largest cosine.

    Args:
        vectors: unit vectors of all texts, sorted by id, shape (n, d).
        rows: the id's own texts.
        starts: where each id's texts start, with n at the end, shape (ids + 1,).

    Returns:
        Shape (ids,), each in [-1, 1]; 1 for the id itself.
    """
    total = np.zeros(len(starts) - 1)
    for begin in range(rows.start, rows.stop, _BLOCK_ROWS):
        cosines = vectors @ vectors[begin : min(begin + _BLOCK_ROWS, rows.stop)].T
        total += np.maximum.reduceat(cosines, starts[:-1], axis=0).sum(axis=1)
    return total / len(rows)


def _hard_candidates(
    texts: _Texts, number: int, confusable_ids: int, generator: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """The id's texts in turn, each with a random text of the confused ids, until all are used up.

    The encoder chooses the ids, not the texts: the nearest texts would be the encoder's own mistakes, and a
    teacher of its kind would look worse on them than it is.
    """
    if texts.vectors is None:
        return
    own = texts.members(number)
    confused = confusion(texts.vectors, own, texts.starts)
    confused[number] = -np.inf
    chosen = np.argsort(-confused, kind="stable")[: min(confusable_ids, len(confused) - 1)]
    others = np.concatenate([np.array(texts.members(int(c))) for c in chosen])
    waiting = [(a, _in_random_order(others, generator)) for a in generator.permutation(np.array(own)).tolist()]
    while waiting:
        still = []
        for a, partners in waiting:
            b = next(partners, None)
            if b is not None:
                yield a, b
                still.append((a, partners))
        waiting = still


def _in_random_order(items: np.ndarray, generator: np.random.Generator) -> Iterator[int]:
    """All items in an order that is drawn now; a few of them are held at a time.

    A permutation for each text of a large id would be as many numbers as there are pairs. What comes behind the
    first few is seldom asked for; then the same permutation is drawn again from where the generator stood, and as
    many more are held as have been asked for.
    """
    state = generator.bit_generator.state
    first = generator.permutation(items)[:_PARTNERS_HELD].tolist()

    def rest() -> Iterator[int]:
        asked = _PARTNERS_HELD
        while asked < len(items):
            again = np.random.default_rng(0)
            again.bit_generator.state = state
            yield from again.permutation(items)[asked : 2 * asked].tolist()
            asked *= 2

    return itertools.chain(first, rest())


def _random_candidates(texts: _Texts, number: int, generator: np.random.Generator) -> Iterator[tuple[int, int]]:
    own = texts.members(number)
    count = len(texts.keys)
    while True:
        a = int(generator.integers(own.start, own.stop))
        b = int(generator.integers(count - len(own)))
        yield a, b if b < own.start else b + len(own)
