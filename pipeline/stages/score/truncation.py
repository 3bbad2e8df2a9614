"""Texts that are longer than the teacher's window: counted before they are embedded, and said aloud.

Two texts that differ behind the cut alone get one vector, and a cosine of 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedTokenizerBase

from data.errors import FlipkdError
from models.runtime.truncation import Cut, cut_texts
from models.teacher.bi_encoder import prompt_of

log = logging.getLogger("flipkd.score")
NAMED = 5  # pairs of texts that are alike up to the cut


def teachers_cut(teacher: SentenceTransformer, texts: Sequence[str], limit: float | None) -> Cut | None:
    """What the teacher does not read of some texts; None where its tokenizer or window is not known.

    Args:
        limit: `score.max_truncated`.

    Raises:
        FlipkdError: a larger share of the texts than `limit` is cut.
    """
    tokenizer, window = getattr(teacher, "tokenizer", None), teacher.get_max_seq_length()
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or window is None:
        return None
    found = cut_texts(tokenizer, texts, window, specials=True, before=prompt_of(teacher) or "")
    cut = int((found.lost > 0).sum())
    if limit is not None and cut > limit * len(texts):
        worst = int(found.lost.argmax())
        raise FlipkdError(
            f"score: {cut} of {len(texts)} texts are longer than the teacher's window of {window} tokens, which "
            f"is more than score.max_truncated ({limit:g}) allows; the longest by {found.lost[worst]} tokens: "
            f"{texts[worst][:80]!r}... Shorten them, raise teach.max_length if the model has more positions, or "
            "take a teacher with a longer window"
        )
    return found


def cut_at_all(cuts: Sequence[Cut]) -> np.ndarray | None:
    """Which texts some teacher does not read to their end, bool (n,); None where there is none."""
    cut = np.any([found.lost > 0 for found in cuts], axis=0) if cuts else np.zeros(0, bool)
    return cut if cut.any() else None


def count_cut(cut: Cut, scores: Path) -> dict[str, Any]:
    """What is cut, by split and side, and the pairs that are alike up to the cut.

    Args:
        scores: `scores.parquet`, whose text ids are the places of `cut`.

    Returns:
        `window`; `texts` that are cut and `tokens_lost`; `splits`, `{split: {side: {"texts", "cut",
        "tokens_lost"}}}`, each text once a side; `alike`: how many pairs of different texts are one text to the
        teacher, and `alike_pairs`, the ids of the first of them. Empty where nothing is cut.
    """
    if not cut.lost.any():
        return {}
    rows = pl.read_parquet(scores, columns=["pair_id", "split", "text_a_id", "text_b_id"])
    splits: dict[str, Any] = {}
    for (split,), part in rows.group_by("split", maintain_order=True):
        sides = {side: part[f"{side}_id"].unique().to_numpy() for side in ("text_a", "text_b")}
        splits[str(split)] = {
            side: {
                "texts": len(ids),
                "cut": int((cut.lost[ids] > 0).sum()),
                "tokens_lost": int(cut.lost[ids].sum()),
            }
            for side, ids in sides.items()
        }
    a, b = (rows[name].to_numpy() for name in ("text_a_id", "text_b_id"))
    alike = (a != b) & (cut.read[a] == cut.read[b]) & (cut.read[a] > 0)
    return {
        "window": cut.window,
        "texts": int((cut.lost > 0).sum()),
        "tokens_lost": int(cut.lost.sum()),
        "splits": splits,
        "alike": int(alike.sum()),
        "alike_pairs": rows["pair_id"].to_numpy()[np.flatnonzero(alike)[:NAMED]].tolist(),
    }


def warn_of_cut(counts: dict[str, Any], texts: int) -> None:
    """Say what `count_cut` found.

    Args:
        texts: how many there are.
    """
    if not counts:
        return
    log.warning(
        "score: %d of %d texts are longer than the teacher's window of %d tokens: %d tokens are not read. "
        "`teach.max_length` widens it as far as the model's positions go, `score.max_truncated` makes it an error",
        counts["texts"], texts, counts["window"], counts["tokens_lost"],
    )  # fmt: skip
    if counts["alike"]:
        log.warning(
            "score: %d pairs differ behind the cut alone, so the teacher gives them a cosine of 1: %s",
            counts["alike"], ", ".join(counts["alike_pairs"]) + (" ..." if counts["alike"] > NAMED else ""),
        )  # fmt: skip
