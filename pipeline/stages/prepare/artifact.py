"""The reading side of `prepare`: what a later stage may ask of its artifact."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from data.schema import CATALOGUE
from pipeline.store.manifest import read_manifest

TRAIN = "train"


def catalogue_columns(prepared: Path) -> dict[str, str]:
    """By a file's name in `source`, the column (`text_a`, `text_b`) of the pairs with a catalogue's entries."""
    catalogues = read_manifest(prepared).summary.get("catalogue", {})
    return {source: found["side"] for source, found in catalogues.items()}


def catalogue_entries(prepared: Path) -> pl.DataFrame:
    """All entries of retrieval sets, whether a pair holds them or not: `entry_id`, `text`, `source`."""
    file = prepared / "catalogue.parquet"
    return pl.read_parquet(file) if file.is_file() else pl.DataFrame(schema=pl.Schema(CATALOGUE))


def entry_texts(prepared: Path) -> set[str]:
    """The texts of all entries of catalogues; empty where no input names one."""
    found = set(catalogue_entries(prepared)["text"])
    for source, side in catalogue_columns(prepared).items():
        entries = pl.scan_parquet(prepared / "pairs.parquet").filter(source=source).select(pl.col(side).unique())
        found |= set(entries.collect()[side])
    return found


def has_own_ids(prepared: Path) -> bool:
    """Whether all queries and entries are those of one retrieval set, with its ids: a query's is its group."""
    catalogues = read_manifest(prepared).summary.get("catalogue", {})
    sets = {found.get("set") for found in catalogues.values()}
    return len(sets) == 1 and None not in sets


def grades(prepared: Path) -> pl.DataFrame | None:
    """`pair_id` and `grade` of the pairs that a retrieval set judges; None without one."""
    pairs = pl.scan_parquet(prepared / "pairs.parquet")
    if "grade" not in pairs.collect_schema():
        return None
    return pairs.select("pair_id", "grade").drop_nulls().collect()


def more_texts(prepared: Path, utterances: bool) -> list[str]:
    """Texts to learn from besides those of pairs: texts without a label, and perhaps all utterances of train."""
    files = [(prepared / "texts.parquet", pl.lit(True))]
    if utterances:
        files.append((prepared / "utterances.parquet", pl.col("split") == TRAIN))
    found = [pl.scan_parquet(file).filter(chosen).select("text") for file, chosen in files if file.is_file()]
    return pl.concat(found).collect()["text"].to_list() if found else []


def utterance_sources(prepared: Path) -> list[str]:
    """Names in `source` of the files of utterances: pairs of these names were built, all others were given."""
    file = prepared / "utterances.parquet"
    return pl.scan_parquet(file).select("source").unique().collect()["source"].to_list() if file.is_file() else []


def ids_of_texts(prepared: Path) -> dict[str, str]:
    """The ids of train's utterances by text, where none of these ids stands in another split; else nothing."""
    file = prepared / "utterances.parquet"
    if not file.is_file():
        return {}
    rows = pl.read_parquet(file, columns=["text", "id", "split"])
    train = rows.filter(split=TRAIN)
    if train.join(rows.filter(pl.col("split") != TRAIN), on="id", how="semi").height:
        return {}
    return dict(train.select("text", "id").iter_rows())


def labelled_texts(prepared: Path) -> pl.DataFrame:
    """Texts of train with what they belong to: `text`, `id`. Texts of one id match, those of two ids do not.

    They are the utterances with their ids, and the entries of catalogues with the queries that one entry alone
    answers. None, where labels were changed for an experiment: an id would give away what was hidden.
    """
    summary = read_manifest(prepared).summary
    parts = [pl.DataFrame(schema={"text": pl.String, "id": pl.String})]
    if "label_share" not in summary and "label_noise" not in summary:
        if (prepared / "utterances.parquet").is_file():
            utterances = pl.scan_parquet(prepared / "utterances.parquet").filter(split=TRAIN)
            parts.append(utterances.select("text", "id").collect())
        parts += [_answered(prepared, source, side) for source, side in catalogue_columns(prepared).items()]
    return pl.concat(parts)


def _answered(prepared: Path, source: str, side: str) -> pl.DataFrame:
    """The queries of one catalogue that have one entry, and the entries themselves."""
    other = "text_a" if side == "text_b" else "text_b"
    matches = pl.scan_parquet(prepared / "pairs.parquet").filter(split=TRAIN, label=1, source=source)
    pairs = matches.select(text=other, id=side).unique(maintain_order=True).collect()
    queries = pairs.filter(pl.col("text").is_unique())
    entries = queries.select(text="id", id="id").unique(maintain_order=True)
    return pl.concat([entries, queries]).with_columns(id=pl.lit(f"{source} ") + pl.col("id"))
