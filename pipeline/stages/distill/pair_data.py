"""What the student's training reads: kept pairs as token ids, their targets, and the teacher's vectors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from data.errors import FlipkdError
from models.objectives.screen import couples, known_together
from models.runtime.truncation import cut_texts
from models.student.flipkd_student import PairPrompt
from models.student.frozen import unpaired_texts
from pipeline.evaluation.metrics import calibrate, fit_calibration
from pipeline.stages.score.artifact import more_text_ids

log = logging.getLogger("flipkd.distill")
TEXT_IDS = ("text_a_id", "text_b_id")


@dataclass(frozen=True)
class PairData:
    """Pairs of one split.

    Attributes:
        first, second: rows of `texts` and `vectors` for text_a and text_b, (n,).
        targets: 0 or 1, (n,).
        texts: token ids of every distinct text; some may stand in no pair, and are read alone.
        vectors: the teacher's unit vectors of the same texts, (texts, dimension), float32.
        probabilities: the teacher's probability that a pair matches, (n,), float32; None where nobody asks.
        prompt_overhead: tokens of a pair's prompt besides its two texts.
        grades: of a retrieval set's judgements, (n,), float32, NaN where there is none; None where nobody asks.
        cut: `texts` and `tokens` beyond what the student reads of one, where there are any.
        matches: all matches of train as `models.objectives.screen.couples` of rows of `texts`, sorted; None where
            those of a batch alone are to count.
    """

    first: np.ndarray
    second: np.ndarray
    targets: np.ndarray
    texts: list[list[int]]
    vectors: np.ndarray
    probabilities: np.ndarray | None = None
    prompt_overhead: int = 0
    matches: np.ndarray | None = None
    grades: np.ndarray | None = None
    cut: Mapping[str, int] | None = None

    @cached_property
    def begins(self) -> np.ndarray:
        """For each text a prompt that begins with it, (texts,): pair i is prompt i, turned round n + i.

        The j-th of the texts that stand in no pair is prompt 2 n + j, alone.
        """
        prompts = np.zeros(len(self.texts), np.int64)
        prompts[self.second] = len(self.first) + np.arange(len(self.second))
        prompts[self.first] = np.arange(len(self.first))
        prompts[self.unpaired] = 2 * len(self.first) + np.arange(len(self.unpaired))
        return prompts

    @cached_property
    def unpaired(self) -> np.ndarray:
        """Rows of the texts that stand in no pair."""
        return unpaired_texts(len(self.texts), self.first, self.second)

    def lengths(self) -> list[int]:
        """Tokens of both texts of each pair."""
        return [len(self.texts[a]) + len(self.texts[b]) for a, b in zip(self.first, self.second, strict=True)]

    def teacher(self, rows: np.ndarray) -> Tensor:
        """t_ij = cos(T(a_i), T(b_j)) among some pairs, (n, n)."""
        similarity = self.vectors[self.first[rows]] @ self.vectors[self.second[rows]].T
        return torch.from_numpy(similarity).clamp(-1, 1)

    def same(self, rows: np.ndarray) -> Tensor:
        """Texts of some pairs that are known to belong together, (n, n), bool."""
        first, second, targets = (part[rows].tolist() for part in (self.first, self.second, self.targets))
        return known_together(first, second, targets, self.matches)


def read_pairs(
    filtered: Path,
    embeddings: Path,
    prompt: PairPrompt,
    *,
    calibrated: bool = False,
    all_texts: bool = False,
    more_texts: bool = False,
    known_matches: bool = False,
    judged: pl.DataFrame | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[PairData, PairData]:
    """The kept pairs of train, and the labelled pairs of dev (all of them: the filter never touches a measure).

    Args:
        calibrated: train's pairs get the teacher's probabilities, for soft targets.
        all_texts: train's data hold the texts of its other pairs too. more_texts: and those that stand in none.
        known_matches: train's data say of all matches of train that they are.
        judged: `pair_id` and `grade`, where train's data are to say them.
        limit: take so many of the kept pairs, by chance, in the file's order. seed: decides which.

    Raises:
        FlipkdError: train has no kept pair, or dev not both labels.
    """
    columns = ["split", "label", "target", "kept", *TEXT_IDS, *(["pair_id"] if judged is not None else [])]
    rows = pl.read_parquet(filtered, columns=[*columns, "teacher_score"] if calibrated else columns)
    everything = rows.filter(split="train")
    kept = everything.filter("kept")
    drawn = np.arange(kept.height)
    if limit is not None and limit < kept.height:
        drawn = np.sort(np.random.default_rng(seed).permutation(kept.height)[:limit])
    train = kept[drawn]
    dev = rows.filter((pl.col("split") == "dev") & pl.col("label").is_not_null())
    if train.height < 2:
        raise FlipkdError(
            f"{filtered}: the filter kept {train.height} training pairs; loosen filter.tau_pos and tau_neg"
        )
    if dev["label"].n_unique() < 2:
        raise FlipkdError(
            f"{filtered}: dev needs pairs of both labels to choose the best adapter; add labelled dev pairs"
        )
    read = text_ids(everything if all_texts else train)
    if more_texts:
        read = pl.concat([read, more_text_ids(embeddings)]).unique().sort()
    data = pair_data(train, "target", embeddings, prompt, read)
    if calibrated:
        data = replace(data, probabilities=_probabilities(everything, dev)[drawn])
    if judged is not None:
        grades = train.select("pair_id").join(judged, on="pair_id", how="left", maintain_order="left")["grade"]
        data = replace(data, grades=grades.cast(pl.Float32).fill_null(float("nan")).to_numpy())
    if known_matches:
        data = replace(data, matches=_matches(everything, read))
    dev_data = pair_data(dev, "label", embeddings, prompt)
    cut = [_cut(part.texts, ids, embeddings, prompt) for part, ids in ((data, read), (dev_data, text_ids(dev)))]
    return replace(data, cut=cut[0]), replace(dev_data, cut=cut[1])


def _cut(texts: list[list[int]], ids: pl.Series, embeddings: Path, prompt: PairPrompt) -> dict[str, int] | None:
    """How many texts, and tokens of them, are beyond what the student reads of one; it is said aloud.

    Args:
        texts: as they are read. ids: theirs, in the same order.
    """
    # Whatever is cut fills its place; only such texts are looked at again.
    full = ids.filter(pl.Series([len(text) == prompt.max_length for text in texts], dtype=pl.Boolean))
    if full.is_empty():
        return None
    whole = pl.scan_parquet(embeddings).filter(pl.col("text_id").is_in(full.implode())).select("text").collect()
    lost = cut_texts(
        prompt.tokenizer, whole["text"].to_list(), prompt.max_length, specials=False, before=prompt.lead
    ).lost
    if not lost.any():
        return None
    found = {"texts": int((lost > 0).sum()), "tokens": int(lost.sum())}
    log.warning(
        "distill: %d of %d texts are longer than distill.max_length (%d tokens): %d tokens are not read",
        found["texts"], len(texts), prompt.max_length, found["tokens"],
    )  # fmt: skip
    return found


def _matches(train: pl.DataFrame, ids: pl.Series) -> np.ndarray:
    """The labelled matches among some texts, kept or not, as `couples` of the texts' places, sorted."""
    found = train.filter(pl.col("label") == 1, *(pl.col(name).is_in(ids.implode()) for name in TEXT_IDS))
    return np.unique(couples(*(ids.search_sorted(found[name]).to_numpy().astype(np.int64) for name in TEXT_IDS)))


def text_ids(rows: pl.DataFrame) -> pl.Series:
    """The texts of some pairs, each once, sorted: the places of `PairData.texts`."""
    return pl.concat([rows[name] for name in TEXT_IDS]).unique().sort()


def _probabilities(train: pl.DataFrame, dev: pl.DataFrame) -> np.ndarray:
    """The teacher's probability that each kept pair matches, by Platt scaling on all labelled pairs of train.

    Those that the filter left out count too: without them the bounds would cut the classes apart, and the teacher
    would look surer than it is. Where train has not both labels, as with unlabelled pairs alone, dev serves.
    """
    labelled = train.drop_nulls("label")
    if labelled["label"].n_unique() < 2:
        labelled = dev
    fitted = fit_calibration(labelled["label"].to_numpy(), labelled["teacher_score"].to_numpy())
    return calibrate(fitted, train.filter("kept")["teacher_score"].to_numpy()).astype(np.float32)


def pair_data(
    rows: pl.DataFrame, target: str, embeddings: Path, prompt: PairPrompt, read: pl.Series | None = None
) -> PairData:
    """Some pairs, with their texts, or with more: the ids `read`, sorted."""
    used = text_ids(rows) if read is None else read
    table = pl.scan_parquet(embeddings).filter(pl.col("text_id").is_in(used.implode())).sort("text_id").collect()
    if table.height != len(used):
        raise FlipkdError(f"{embeddings}: holds {table.height} of the {len(used)} texts that the pairs name")
    ids = table["text_id"].to_numpy()
    return PairData(
        np.searchsorted(ids, rows["text_a_id"].to_numpy()),
        np.searchsorted(ids, rows["text_b_id"].to_numpy()),
        rows[target].to_numpy().astype(np.int64),
        prompt.texts(table["text"].to_list()),
        table["embedding"].to_numpy().astype(np.float32),
        prompt_overhead=prompt.overhead,
    )
