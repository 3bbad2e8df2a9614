"""A retrieval set or catalogue while it is read: texts by their ids, and what names them as pairs of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from data.collect import Unusable, checked_text, grade_of, name_of
from data.readers import read_rows
from data.records import Reject, Row, raw_json
from data.texts import clean, text_key
from pipeline.stages.prepare.input_kinds import HardNegatives
from pipeline.stages.prepare.input_rows import InputRows, JudgementsFile, PointersFile
from pipeline.stages.prepare.inputs import columns_of, input_path

# Why a judgement cannot be used.
NO_QUERY, NO_ENTRY = "unknown_query", "unknown_entry"
# The columns of `judged_pairs` and `answered_pairs`, as `data.collect` asks for them.
PAIR_OF_JUDGEMENT = {name: name for name in ("text_a", "text_b", "label", "group")}
JUDGEMENTS = {
    "file": pl.Int32(), "source_row": pl.Int64(), "query_id": pl.String(), "entry_id": pl.String(),
    "grade": pl.Int32(),
}  # fmt: skip


@dataclass
class Collection:
    """The texts of one retrieval set, and what was judged.

    Attributes:
        name: of the set, or of the file of entries.
        negatives: which entries that nobody judged are hard negatives.
        entries, queries: the texts by id, as they were cleaned. A query without an id goes by its text's key.
        groups: of a query, the group that its pairs carry, if there is one.
        judged: a row for each judgement that was read, `JUDGEMENTS`; the grade is null where there are none.
    """

    name: str
    negatives: HardNegatives
    entries: dict[str, str] = field(default_factory=dict)
    queries: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str | None] = field(default_factory=dict)
    judged: list[tuple[int, int, str, str, int | None]] = field(default_factory=list)

    def judgements(self) -> pl.DataFrame:
        return pl.DataFrame(self.judged, schema=JUDGEMENTS, orient="row")


def judged_queries(files: Iterable[InputRows], folder: int) -> set[str]:
    """The ids of the queries that the judgements of one set name.

    Args:
        files: all input files. folder: the set's place in `prepare.inputs`.
    """
    found: set[str] = set()
    for file in files:
        if isinstance(file, JudgementsFile) and file.folder == folder:
            column = columns_of(file)["text_a"]
            for row in read_rows(input_path(file.path), file.format, file.column_names, [column]):
                if isinstance(row, Row) and (query := _named(row, column)) is not None:
                    found.add(query)
    return found


def judged_pairs(
    rows: Iterable[Row | Reject], file: JudgementsFile, place: int, collection: Collection
) -> Iterator[Row | Reject]:
    """Judgements as rows with the texts that they name: `text_a`, `text_b`, `label`, `group` (the query's id).

    Args:
        place: of the file. collection: gets the judgements too.
    """
    columns = columns_of(file)
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        try:
            query, entry = (name_of(row.values.get(columns[side])) for side in ("text_a", "text_b"))
            grade = grade_of(row.values.get(columns["label"]))
            if query is None or entry is None:
                raise Unusable("missing_id")
            if query not in collection.queries:
                raise Unusable(NO_QUERY)
            if entry not in collection.entries:
                raise Unusable(NO_ENTRY)
        except Unusable as why:
            yield Reject(row.number, str(why), raw_json(row.values))
            continue
        collection.judged.append((place, row.number, query, entry, grade))
        collection.groups[query] = query
        values = {"text_a": collection.queries[query], "text_b": collection.entries[entry], "group": query}
        yield Row(row.number, values | {"label": int(grade >= file.relevant_from)}, row.values)


def answered_pairs(
    rows: Iterable[Row | Reject], file: PointersFile, place: int, collection: Collection, max_characters: int
) -> Iterator[Row | Reject]:
    """Rows that name an entry by its id, with the entry's text in that column.

    Args:
        place: of the file. collection: gets the queries too, and of a file with entries of its own those.
        max_characters: a longer entry rejects the row.
    """
    columns = columns_of(file)
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        text = row.values.get(columns["text_a"])
        try:
            if file.own_entries:
                entry_text, entry = checked_text(row.values.get(columns["text_b"]), max_characters)
                collection.entries.setdefault(entry, entry_text)
            else:
                entry = name_of(row.values.get(columns["text_b"]))
            if entry is None:
                raise Unusable("missing_id")
            if entry not in collection.entries:
                raise Unusable(NO_ENTRY)
            group = name_of(row.values.get(columns["group"])) if "group" in columns else None
        except Unusable as why:
            yield Reject(row.number, str(why), raw_json(row.values))
            continue
        if isinstance(text, str):  # if not, the row will be rejected for it
            query = text_key(text)
            collection.queries.setdefault(query, clean(text))
            collection.groups.setdefault(query, group)
            collection.judged.append((place, row.number, query, entry, None))
        given = {name: row.values.get(column) for name, column in columns.items()}
        yield Row(row.number, {"label": 1} | given | {"text_b": collection.entries[entry]}, row.values)


def _named(row: Row, column: str) -> str | None:
    try:
        return name_of(row.values.get(column))
    except Unusable:
        return None
