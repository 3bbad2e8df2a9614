"""What `prepare` demands of its result, and the summary of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from data.collect import SPLITS
from data.errors import FlipkdError
from data.leaks import leaks
from data.records import Reject
from data.splits import Leak, given_leaks, torn_chains
from pipeline.stages.prepare.catalogue import catalogue_advice
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.expand import files_of
from pipeline.stages.prepare.input_rows import SetTextsFile
from pipeline.stages.prepare.inputs import source_name
from pipeline.stages.prepare.rows import Gathered

log = logging.getLogger("flipkd.prepare")
# What is counted of every pair: texts and groups as hashes.
COUNTED = ("file", "split", "label", "key_a", "key_b", "group")
LEAK, HELD_OUT = "leak", "held_out_entry"  # reasons of rejects that the config asked for
MEASURED_TEXT, KNOWN_TEXT = "measured_text", "known_text"  # texts without a label that are not taken
NOT_JUDGED = "not_judged"  # a query of a retrieval set that waits for its judgements: nothing is wrong with it
_EXAMPLES = 3
_MOST_FILES = 5
_SHOWN_CHARACTERS = 160
_REMEDIES = {
    "missing_text": "a text is empty",
    "text_not_a_string": "a text is a number or a list",
    "missing_id": "the id is empty",
    "bad_id": "the id or group is a list, a mapping or another thing without a plain name",
    "bad_label": "a label is neither 0 nor 1 (or true, false, empty)",
    "bad_split": "the split is none of train, dev, test",
    "duplicate": "the pair of texts (in either order), or the utterance, stood there before",
    "contradictory_label": "the same texts stand with another label; see `prepare.contradictions`",
    "same_text": "both texts are the same",
    "too_long": "a text is longer than `prepare.max_characters` (in CSV and TSV no field may pass 131,072)",
    "not_utf8": "bytes that are not UTF-8; save the file as UTF-8",
    "nul_byte": "a NUL byte",
    "ragged_row": "more or fewer fields than columns",
    "bad_quoting": "a quote that is not closed or not doubled; is it a TSV?",
    "not_json": "the line is not a JSON object",
    "repeated_key": "a key stands twice in the JSON object",
    "repeated_id": "the id stood there before, with another text or the same",
    "unknown_query": "a judgement of a query that is not among the queries, or was rejected there",
    "unknown_entry": "an entry or document that is not in the catalogue, or was rejected there",
    "bad_grade": "a grade that is no whole number",
    NOT_JUDGED: "a query without a judgement",
    MEASURED_TEXT: "a text without a label that stands in dev or test, where it must not be learnt from",
    KNOWN_TEXT: "a text without a label that stood there before",
    LEAK: "its text or group stands in a later split; see `prepare.splitting.leaks`",
    HELD_OUT: "a pair of train whose entry is held out; see `prepare.splitting.entries`",
}
_WHY = {"train": "nothing is learnt without it", "dev": "thresholds are chosen on it", "test": "results are on it"}


def check_given(gathered: Gathered, links: pl.DataFrame) -> int:
    """Check that the splits that files or columns give share no text and no group.

    Args:
        links: of all pairs, then all utterances; see `data.splits`.

    Returns:
        How many texts and groups stand in two splits, where `prepare.splitting.leaks` lets that pass.

    Raises:
        FlipkdError: they do; it names examples with file, row and column.
    """
    count, found = given_leaks(links, _EXAMPLES)
    policy = gathered.config.splitting.leaks
    if count and policy != "error":
        log.warning(
            "%d texts or groups stand in more than one of the given splits; `prepare.splitting.leaks: %s` decides",
            count, policy,
        )  # fmt: skip
    elif count:
        raise FlipkdError(
            f"prepare: the given splits leak, {count} texts or groups stand in more than one:\n"
            + "\n".join(f"  {_leak_in_words(gathered, leak)}" for leak in found)
            + "\nTake them out of one side, or give no split and let prepare make it. (Ids of utterances that "
            "should stand in all splits: `prepare.splitting.by: text`. Official splits that leak: "
            f"`prepare.splitting.leaks`.){_catalogue_line(gathered)}"
        )
    chains, row = torn_chains(links)
    if row is not None:
        text, place = gathered.look_up(row, "key_a")
        raise FlipkdError(
            f"prepare: {chains} chains of rows without a split link two given splits, one at {_short(text)} "
            f"({place}): give those rows a split, or give none to any row"
        )
    return count


def _leak_in_words(gathered: Gathered, leak: Leak) -> str:
    row, column = min(leak.places.values())
    kind, (shown, _) = "group" if column == "group" else "text", gathered.look_up(row, column)
    places = [f"{split}: {gathered.look_up(*place)[1]}" for split, place in leak.places.items()]
    return f"the {kind} {_short(shown)} stands in {' and '.join(leak.places)} ({'; '.join(places)})"


def warn_of_ids(utterances: pl.DataFrame) -> None:
    """Say where one id seems to be written in two ways, `7` and `7.0`, as pandas makes of whole numbers.

    Args:
        utterances: with `id`.
    """
    ids = utterances["id"].unique()
    fractions = ids.filter(ids.str.contains(r"^-?\d+\.0+$"))
    both = fractions.filter(fractions.str.replace(r"\.0+$", "").is_in(ids.implode())).sort()
    if len(both):
        log.warning(
            "%d ids stand as whole numbers and with a decimal point, %r and %r for one: they count as different "
            "ids, whose texts do not match. Write them alike",
            len(both), both[0].partition(".")[0], both[0],
        )  # fmt: skip


def check_leaks(pairs: Path, entries: Mapping[str, str]) -> None:
    """Check the finished file by itself: no text and no group in two splits.

    Args:
        entries: by source, the column that holds the entries of a catalogue, which may stand in every split.

    Raises:
        FlipkdError: there is one, which is an error of flipkd.
    """
    found = leaks(pairs, entries=entries)
    if found:
        raise FlipkdError(
            "prepare: the splits that were made leak, so nothing is written: "
            + "; ".join(found)
            + ". This is an error of flipkd: please report it, with the rows named here"
        )


def check_rejected(
    config: PrepareConfig, rejects: pl.DataFrame, rows_read: int, raw: Callable[[int], Iterator[Reject]]
) -> None:
    """Check the rejected share of all rows.

    Args:
        rejects: `file`, `source_row`, `reason`.
        raw: gives a file's rejects, in order.

    Raises:
        FlipkdError: it is above the limit; says the counts and shows a row of each reason.
    """
    limit = config.max_rejected
    if rejects.height <= limit * rows_read:
        return
    firsts = rejects.sort("file", "source_row").unique("reason", keep="first", maintain_order=True)
    lines = []
    files = files_of(config)
    for reason, count in _counts(rejects, "reason").items():
        place, number = firsts.filter(pl.col("reason") == reason).select("file", "source_row").row(0)
        shown = next(reject.raw for reject in raw(place) if reject.number == number)
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
        source = source_name(files[place])
        lines.append(f"  {reason}: {count} ({_REMEDIES[reason]}), first {source} row {number}: {shown}")
    share = rejects.height / rows_read
    raise FlipkdError(
        f"prepare: {rejects.height} of {rows_read} rows were rejected ({share:.1%}), above "
        f"`prepare.max_rejected: {limit:g}`:\n" + "\n".join(lines) + "\nMend the file, or raise the limit."
    )


def check_any(gathered: Gathered, rejects: pl.DataFrame) -> None:
    """Check that a row is left.

    Raises:
        FlipkdError: none is; says why.
    """
    if rejects.height == gathered.rows_read:
        why = ", ".join(f"{reason} {count}" for reason, count in _counts(rejects, "reason").items())
        raise FlipkdError(
            f"prepare: no usable row is left ({_came_from(gathered, rejects)}), by reason: {why}. Lower "
            "`prepare.max_rejected` to see some of the rows, and mend the files"
        )


def check_splits(gathered: Gathered, pairs: pl.DataFrame, rejects: pl.DataFrame) -> None:
    """Check that no split is empty, and that those with labels have both.

    Data without any label passes, and so does a train split without any (the filter labels it).

    Args:
        pairs: with the columns `COUNTED`.
        rejects: `file`; for messages.

    Raises:
        FlipkdError: a split lacks what later stages need; names the files and what became of their rows.
    """
    labelled = pairs["label"].is_not_null().any()
    for split in SPLITS:
        part = pairs.filter(pl.col("split") == split)
        if part.is_empty():
            named = (f"{name} {count}" for name, count in _counts(pairs, "split").items())
            sizes = ", ".join(named) or "none at all"
            remedy = (
                "Give more rows, or lower `prepare.splitting.dev` and `prepare.splitting.test`"
                if split == "train"
                else f"Give more groups, raise `prepare.splitting.{split}`, or, if files have a split given, give "
                f"a file for {split} or leave the split of one to `prepare.splitting`"
            )
            raise FlipkdError(
                f"prepare: no pair is in {split}, and {_WHY[split]} (pairs: {sizes}; "
                f"{_came_from(gathered, rejects)}). {remedy}{_catalogue_line(gathered)}"
            )
        if not labelled or (split == "train" and part["label"].is_null().all()):
            continue
        for label, word in ((1, "positive"), (0, "negative")):
            if not (part["label"] == label).any():
                raise FlipkdError(
                    f"prepare: {split} has no {word} pair among {part.height}, and {_WHY[split]} "
                    f"({_came_from(gathered, rejects)}). Give pairs with label {label}, more groups, or "
                    f"(utterances) at least two ids with two texts each for every split{_catalogue_line(gathered)}"
                )


def _catalogue_line(gathered: Gathered) -> str:
    advice = catalogue_advice(gathered.config, gathered.pairs)
    return f"\n{advice}" if advice else ""


def _came_from(gathered: Gathered, rejects: pl.DataFrame) -> str:
    """What was read of each file, in words."""
    read = pl.concat([part.select("file") for part in (gathered.pairs, gathered.utterances, gathered.rejects)])
    rows, lost = (dict(part.group_by("file").len().iter_rows()) for part in (read, rejects))
    # Of a retrieval set the judgements tell enough: its texts are no rows of pairs.
    named = [
        f"{source_name(file)}: {rows.get(n, 0)} rows, {lost.get(n, 0)} rejected"
        for n, file in enumerate(files_of(gathered.config))
        if not isinstance(file, SetTextsFile)
    ]
    more = f" and {len(named) - _MOST_FILES} files more" if len(named) > _MOST_FILES else ""
    return "; ".join(named[:_MOST_FILES]) + more


def summarise(
    config: PrepareConfig,
    everything: pl.DataFrame,
    utterances: pl.DataFrame,
    rejects: pl.DataFrame,
    rows: dict[str, int],
    double: dict[str, int],
) -> dict[str, Any]:
    """Counts that a person wants to know, JSON-able.

    Args:
        everything: the pairs, with the columns `COUNTED`; texts and groups are counted by their hashes.
        double: pairs with two labels, texts with two ids.
    """
    splits = {}
    for split in SPLITS:
        part = everything.filter(pl.col("split") == split)
        splits[split] = {
            "pairs": part.height,
            "positive": int((part["label"] == 1).sum()),
            "negative": int((part["label"] == 0).sum()),
            "unlabelled": part["label"].null_count(),
            "texts": pl.concat([part["key_a"], part["key_b"]]).n_unique(),
            "groups": part["group"].drop_nulls().n_unique(),
            "ids": utterances.filter(pl.col("split") == split)["id"].n_unique(),
        }
    names = pl.Series([source_name(file) for file in files_of(config)], dtype=pl.String)

    def by_source(frame: pl.DataFrame) -> dict[str, int]:
        return _counts(frame.select(names.gather(frame["file"]).alias("source")), "source")

    return {
        "rows": rows,
        "rejected": _counts(rejects, "reason"),
        "contradictions": double,
        "splits": splits,
        "sources": {
            "pairs": by_source(everything),
            "utterances": by_source(utterances),
            "rejected": by_source(rejects),
        },
    }


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counted.iter_rows())
