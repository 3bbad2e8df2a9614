"""The retrieval task that utterances with an id define: which questions are asked, and what is searched.

An FAQ entry is an id; its phrasings are the texts that stand under it. A FAQ system has a catalogue, which shows a
question (or a few) for each entry, and gets questions that nobody has written down yet. So, with one rule for all
data:

- an entry's phrasings are ordered: those of train, of dev, of test, each in the order of the files. The first
  `phrasings` of them are its catalogue questions. Every entry has them, whatever split it stands in, so that
  entries which training knows are no likelier to be found than others;
- the questions asked are the phrasings of test that are no catalogue question. The right answer is their entry.

Split by text (`prepare.splitting.by: text`, as BANKING77), every entry is known, its catalogue question was
trained on, and the questions are unseen phrasings. Split by group (the demo), the entries asked for are unseen as
a whole, their catalogue questions too, and must be told from those that training knows. By default an entry has
one catalogue question: then the ranking compares questions, as in training, and no entry wins by having more
texts. With several an entry is as near as the nearest of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from data.collect import SPLITS
from data.errors import FlipkdError
from data.texts import text_key
from pipeline.evaluation.retrieval import Task, draw_queries

UTTERANCES_FILE = "utterances.parquet"


def read_task(prepared: Path, *, phrasings: int, queries: int, seed: int) -> Task:
    """The task of a `prepare` artifact; arguments as in `build_task`.

    Raises:
        FlipkdError: it has no utterances, or they make no task.
    """
    path = prepared / UTTERANCES_FILE
    if not path.is_file():
        raise FlipkdError(f"retrieve: {prepared} has no {UTTERANCES_FILE}: its input was pairs alone")
    return build_task(pl.read_parquet(path), phrasings=phrasings, queries=queries, seed=seed)


def build_task(utterances: pl.DataFrame, *, phrasings: int, queries: int, seed: int) -> Task:
    """The task that utterances define.

    Args:
        utterances: `text`, `id`, `split`, in the order of the files.
        phrasings: catalogue questions per entry. queries: at most so many questions are drawn, by `seed`.

    Raises:
        FlipkdError: there are fewer than two entries, or no question is left to ask.
    """
    rows = utterances.sort(pl.col("split").cast(pl.Enum(SPLITS)), maintain_order=True)
    rows = rows.with_columns(pl.Series("key", map(text_key, rows["text"]), pl.String))
    rows = rows.with_columns(place=pl.int_range(pl.len()).over("id"))
    shown = rows.filter(pl.col("place") < phrasings).sort("id", "place")
    entries = shown["id"].unique(maintain_order=True).to_list()
    if len(entries) < 2:
        raise FlipkdError(f"retrieve: {len(entries)} FAQ entries are too few to rank; add utterances of other ids")
    asked = (
        rows.filter(pl.col("split") == "test", ~pl.col("key").is_in(shown["key"].implode()))
        .group_by("key", maintain_order=True)
        .agg(pl.col("text").first(), pl.col("id").unique(maintain_order=True))
    )
    if asked.is_empty():
        raise FlipkdError(
            f"retrieve: test has no phrasing besides the catalogue questions ({phrasings} an entry); lower "
            "retrieve.phrasings, or give test more (prepare.splitting.test)"
        )
    number = {entry: n for n, entry in enumerate(entries)}
    chosen = asked[draw_queries(asked.height, queries, seed)]
    firsts = shown.with_row_index("row").group_by("id", maintain_order=True).agg(pl.col("row").first())
    return Task(
        entries,
        shown["text"].to_list(),
        firsts["row"].to_numpy().astype(np.int64),
        chosen["text"].to_list(),
        [[number[entry] for entry in ids] for ids in chosen["id"]],
        asked.height,
    )
