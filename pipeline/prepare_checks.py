"""What `prepare` demands of its result, and the summary of it."""

from __future__ import annotations

from typing import Any

import polars as pl

from data.collect import SPLITS
from data.errors import FlipkdError

_SHOWN_CHARACTERS = 160
_REMEDIES = {
    "missing_text": "a text is empty",
    "text_not_a_string": "a text is a number or a list",
    "missing_id": "the id is empty",
    "bad_label": "a label is neither 0 nor 1 (or true, false, empty)",
    "bad_split": "the split is none of train, dev, test",
    "duplicate": "the pair of texts (in either order), or the utterance, stood there before",
    "contradictory_label": "the same texts stand with another label; see `prepare.contradictions`",
    "same_text": "both texts are the same",
    "too_long": "a text is longer than `prepare.max_characters`",
    "not_utf8": "bytes that are not UTF-8; save the file as UTF-8",
    "nul_byte": "a NUL byte",
    "ragged_row": "more or fewer fields than columns",
    "bad_quoting": "a quote that is not closed or not doubled; is it a TSV?",
    "not_json": "the line is not a JSON object",
}
_WHY = {"train": "nothing is learnt without it", "dev": "thresholds are chosen on it", "test": "results are on it"}


def check_rejected(rejects: pl.DataFrame, rows_read: int, limit: float) -> None:
    """Check the rejected share of all rows.

    Raises:
        FlipkdError: it is above the limit; says the counts and shows a row of each reason.
    """
    if rejects.height <= limit * rows_read:
        return
    lines = []
    for reason, count in _counts(rejects, "reason").items():
        source, row, raw = rejects.filter(pl.col("reason") == reason).select("source", "source_row", "raw").row(0)
        shown = raw if len(raw) <= _SHOWN_CHARACTERS else raw[:_SHOWN_CHARACTERS] + "…"
        lines.append(f"  {reason}: {count} ({_REMEDIES[reason]}), first {source} row {row}: {shown}")
    share = rejects.height / rows_read
    raise FlipkdError(
        f"prepare: {rejects.height} of {rows_read} rows were rejected ({share:.1%}), above "
        f"`prepare.max_rejected: {limit:g}`:\n" + "\n".join(lines) + "\nMend the file, or raise the limit."
    )


def check_splits(pairs: pl.DataFrame) -> None:
    """Check that no split is empty, and that those with labels have both.

    Data without any label passes, and so does a train split without any (the filter labels it).

    Raises:
        FlipkdError: a split lacks what later stages need.
    """
    labelled = pairs["label"].is_not_null().any()
    for split in SPLITS:
        part = pairs.filter(pl.col("split") == split)
        if part.is_empty():
            sizes = (
                ", ".join(f"{name} {count}" for name, count in _counts(pairs, "split").items()) or "none at all"
            )
            raise FlipkdError(
                f"prepare: no pair is in {split}, and {_WHY[split]} (pairs: {sizes}). Give more groups, raise "
                f"`prepare.splitting.{'dev' if split == 'dev' else 'test'}`, or, if files have a split given, "
                f"give a file for {split} or leave the split of one to `prepare.splitting`"
                if split != "train"
                else f"prepare: no pair is in train, and {_WHY[split]} (pairs: {sizes}). Give more rows, or lower "
                "`prepare.splitting.dev` and `prepare.splitting.test`"
            )
        if not labelled or (split == "train" and part["label"].is_null().all()):
            continue
        for label, word in ((1, "positive"), (0, "negative")):
            if not (part["label"] == label).any():
                raise FlipkdError(
                    f"prepare: {split} has no {word} pair among {part.height}, and {_WHY[split]}. Give pairs "
                    f"with label {label}, more groups, or (utterances) at least two ids with two texts each for "
                    "every split"
                )


def summarise(
    pairs: pl.DataFrame, utterances: pl.DataFrame, rejects: pl.DataFrame, rows: dict[str, int]
) -> dict[str, Any]:
    """Counts that a person wants to know, JSON-able."""
    splits = {}
    for split in SPLITS:
        part = pairs.filter(pl.col("split") == split)
        splits[split] = {
            "pairs": part.height,
            "positive": int((part["label"] == 1).sum()),
            "negative": int((part["label"] == 0).sum()),
            "unlabelled": part["label"].null_count(),
            "texts": pl.concat([part["text_a"], part["text_b"]]).n_unique(),
            "groups": part["group"].drop_nulls().n_unique(),
            "ids": utterances.filter(pl.col("split") == split)["id"].n_unique(),
        }
    lengths = pl.concat([pairs["text_a"], pairs["text_b"]]).str.len_chars()
    return {
        "rows": rows,
        "rejected": _counts(rejects, "reason"),
        "splits": splits,
        "sources": {
            "pairs": _counts(pairs, "source"),
            "utterances": _counts(utterances, "source"),
            "rejected": _counts(rejects, "source"),
        },
        "mean_characters": round(float(str(lengths.mean() or 0)), 1),
    }


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counted.iter_rows())
