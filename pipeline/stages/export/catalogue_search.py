"""A saved student finds the entries of a catalogue for the queries of a file, or for questions at a prompt."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.errors import FlipkdError
from data.schema import with_metadata
from models.runtime.precision import matrix_precision
from models.student.flipkd_student import FlipkdStudent
from models.student.load import load_student
from pipeline.stages.export.text_file import check_place, chunks, inspect, written
from pipeline.terminal.progress import progress

ROWS_AT_ONCE, QUERIES_AT_ONCE = 2048, 32
SCORES = ("decoder", "encoder", "fused")
ADDED = {
    "rank": pa.int64(), "entry": pa.string(), "entry_row": pa.int64(), **dict.fromkeys(SCORES, pa.float32()),
}  # fmt: skip


@dataclass(frozen=True)
class Catalogue:
    """Entries to search, and the student that searches them.

    Attributes:
        texts: of the entries, each once, in the order of the file.
        rows: where each stands in the file first, from 1.
        vectors: (n, width), the student's encoder view of them.
    """

    student: FlipkdStudent
    texts: list[str]
    rows: list[int]
    vectors: np.ndarray


def open_catalogue(
    student: Path,
    entries: Path,
    *,
    text: str = "title",
    index: Path | None = None,
    trust_remote_code: bool = False,
) -> Catalogue:
    """Load a student and embed the entries of a file.

    Args:
        text: the column of the entries' texts.
        index: a file (.safetensors) that keeps their vectors for the next time.

    Raises:
        FlipkdError: the student, the file or a row cannot be used, or there are no entries.
    """
    if index is not None:
        check_place(index, entries)
    columns, _ = inspect(entries, [text], ())
    rows: dict[str, int] = {}
    read = itertools.chain.from_iterable(texts for _, texts in chunks(entries, columns, ROWS_AT_ONCE, [text]))
    for number, texts in enumerate(read, start=1):
        rows.setdefault(texts[0] if texts else "", number)
    if not rows:
        raise FlipkdError(f"{entries.name}: holds no entry to search")
    model = load_student(student, trust_remote_code=trust_remote_code)
    with matrix_precision("fp32"), progress("embedding the catalogue", len(rows), "entries") as advance:
        try:
            vectors = model.index(list(rows), index, advance=advance)
        except OSError as error:
            raise FlipkdError(f"{index}: cannot be used to keep the entries: {error.strerror or error}") from None
    return Catalogue(model, list(rows), list(rows.values()), vectors)


def best_entries(catalogue: Catalogue, queries: list[str], k: int, candidates: int) -> list[list[dict[str, Any]]]:
    """`FlipkdStudent.search`, with products of fp32 numbers computed in fp32."""
    with matrix_precision("fp32"):
        return catalogue.student.search(
            queries, catalogue.texts, k, candidates=candidates, vectors=catalogue.vectors
        )


def search_file(
    catalogue: Catalogue, queries: Path, out: Path, *, text: str = "text", k: int = 5, candidates: int = 10
) -> dict[str, int]:
    """Write a file with a row for each query and each of its best entries; CSV or JSONL by its ending, or Parquet.

    Its columns are those of the queries' file, then `rank` (from 1), `entry` (its text), `entry_row` (in the
    catalogue's file, from 1), `decoder`, `encoder` and `fused`.

    Args:
        text: the column of the queries.
        k: entries a query. candidates: how many of the encoder's first entries the decoder ranks anew.

    Returns:
        `{"queries", "rows"}`, both counts.

    Raises:
        FlipkdError: the file, a column or a row cannot be used.
    """
    check_place(out, queries)
    columns, count = inspect(queries, [text], ADDED)
    schema = with_metadata(
        pa.schema([*columns, *ADDED.items()]),
        {"student": str(catalogue.student.folder), "entries": len(catalogue.texts)},
    )
    rows = 0
    with progress("searching", count, "queries") as advance, written(out, schema) as file:
        for table, texts in chunks(queries, columns, QUERIES_AT_ONCE, [text]):
            found = best_entries(catalogue, [row[0] for row in texts if row], k, candidates)
            of_query = np.repeat(np.arange(len(found)), [len(best) for best in found])
            best = [row for query in found for row in query]
            added = {
                "rank": [rank for query in found for rank in range(1, len(query) + 1)],
                "entry": [catalogue.texts[row["entry"]] for row in best],
                "entry_row": [catalogue.rows[row["entry"]] for row in best],
                **{name: [row.get(name) for row in best] for name in SCORES},
            }
            arrays = [pa.array(values, ADDED[name]) for name, values in added.items()]
            file.write_table(pa.table([*table.take(pa.array(of_query)).columns, *arrays], schema=schema))
            rows += len(best)
            advance(len(found))
    return {"queries": count, "rows": rows}
