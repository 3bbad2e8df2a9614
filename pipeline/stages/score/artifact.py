"""The reading side of `score`: queries and the entries of catalogues, by the ids of their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from pipeline.evaluation.search import Search
from pipeline.stages.prepare.artifact import catalogue_columns, catalogue_entries, grades, has_own_ids
from pipeline.store.manifest import read_manifest
from pipeline.store.store import Store

MORE_TEXTS = "texts.parquet"


def more_text_ids(embeddings: Path) -> pl.Series:
    """The `text_id` of training texts besides those of pairs: texts without a label, and perhaps utterances."""
    file = embeddings.with_name(MORE_TEXTS)
    return pl.read_parquet(file)["text_id"] if file.is_file() else pl.Series("text_id", [], dtype=pl.Int64)


def prepared_of(scored: Path, store: Store) -> Path:
    """The artifact of `prepare` whose pairs were scored."""
    return store.path("prepare", read_manifest(scored).inputs["prepare"])


def search_of(prepared: Path, scored: Path) -> Search | None:
    """What the catalogues of a run are asked; None if no input names one.

    Args:
        prepared, scored: artifacts of `prepare` and `score`.
    """
    sides = catalogue_columns(prepared)
    if not sides:
        return None
    embeddings = scored / "embeddings.parquet"
    rows = queries_and_entries(scored / "scores.parquet", sides, grades(prepared))
    return Search(
        rows, entries_of(rows, catalogue_entries(prepared), embeddings), embeddings, has_own_ids(prepared)
    )


def queries_and_entries(
    scores: Path, sides: Mapping[str, str], judged: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Pairs as `query_id`, `query`, `entry_id`, `entry`, `label`, `split`, `group`, `grade`.

    Args:
        sides: by source, the column that holds the entries. judged: `pair_id`, `grade`, if there are grades.
    """
    if judged is None:
        judged = pl.DataFrame(schema={"pair_id": pl.String, "grade": pl.Int32})
    parts = []
    for side, other in (("text_a", "text_b"), ("text_b", "text_a")):
        sources = [source for source, own in sides.items() if own == side]
        rows = pl.scan_parquet(scores).filter(pl.col("source").is_in(sources))
        ids = {"query_id": f"{other}_id", "query": other, "entry_id": f"{side}_id", "entry": side}
        graded = rows.join(judged.lazy(), on="pair_id", how="left", maintain_order="left")
        parts.append(graded.select("label", "split", "group", "grade", **ids))
    return pl.concat(parts).collect()


def entries_of(rows: pl.DataFrame, whole: pl.DataFrame, embeddings: Path) -> pl.DataFrame:
    """The catalogue, all entries of all splits: `entry_id` (its text's), `entry`, `name` (a set's id, or null).

    Args:
        rows: from `queries_and_entries`.
        whole: all entries of retrieval sets: `entry_id` (the set's), `text`; of those with one text the first.
    """
    names = whole.select(name="entry_id", entry="text").unique("entry", keep="first", maintain_order=True)
    known = pl.scan_parquet(embeddings).select(entry_id="text_id", entry="text")
    of_sets = (known if whole.height else known.head(0)).join(names.lazy(), on="entry", how="semi").collect()
    found = pl.concat([rows.select("entry_id", "entry"), of_sets]).unique("entry_id").sort("entry_id")
    return found.join(names, on="entry", how="left", maintain_order="left")
