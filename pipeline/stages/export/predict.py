"""`flipkd predict`: score the pairs of a file with a saved student, in chunks, as the report's were scored."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.readers import check_columns, file_format, header, read_rows
from data.records import Reject
from data.schema import with_metadata, writer
from data.texts import clean
from models.student.flipkd_student import DECISION
from models.student.load import load_student, score_pairs
from pipeline.terminal.progress import progress

CHUNK_ROWS = 2048
ADDED = {"decoder": pa.float32(), "encoder": pa.float32(), "fused": pa.float32(), "match": pa.bool_()}


def predict(
    student: Path,
    pairs: Path,
    out: Path,
    *,
    text_a: str = "text_a",
    text_b: str = "text_b",
    batch_pairs: int = 32,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Write a Parquet file with every column of the input, and the student's scores and verdict beside them.

    The columns `decoder` and `fused` (probabilities), `encoder` (cosine), and `match` (`fused` at or above its
    threshold) are added at the end. Columns of CSV and TSV stay text; of JSONL, what JSON knows. The output
    appears under its name only when it is complete.

    Args:
        student: the folder `student/` of an export, or the export itself.
        pairs: CSV, TSV, JSONL or Parquet.
        text_a, text_b: columns of the texts.
        batch_pairs: pairs per forward pass.
        trust_remote_code: run the code of the student's base model, for a base that has code of its own.

    Returns:
        `{"pairs", "matches"}`, both counts.

    Raises:
        FlipkdError: the student, the file, a column or a row cannot be used; the message says which.
    """
    if out.is_dir() or not out.parent.is_dir():
        why = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise FlipkdError(f"{out}: cannot be written: {why}")
    check_columns(pairs, "auto", None, [text_a, text_b])
    taken = sorted(ADDED.keys() & set(header(pairs)))
    if taken:
        raise FlipkdError(f"{pairs.name}: already has {', '.join(taken)}, which predict adds; rename the column")
    schema, count = _inspect(pairs, text_a, text_b)
    model = load_student(student, trust_remote_code=trust_remote_code)
    if not model.decision:
        raise FlipkdError(
            f"{student}: has no {DECISION}, so there is no fused score; take the student of an export"
        )
    threshold = model.decision["thresholds"]["fused"]
    schema = with_metadata(
        pa.schema([*schema, *ADDED.items()]), {"student": str(model.folder), "threshold": threshold}
    )
    matches = 0
    temporary = out.with_name(f".{out.name}.writing")
    try:
        with progress("scoring pairs", count, "pairs") as advance, writer(temporary, schema) as file:
            for table in _tables(pairs, schema, text_a, text_b):
                texts = list(zip(_texts(table, text_a), _texts(table, text_b), strict=True))
                scores = score_pairs(model, texts, batch_pairs, advance)
                match = scores["fused"].astype(np.float64) >= threshold
                matches += int(match.sum())
                columns = [pa.array(scores[name]) for name in ("decoder", "encoder", "fused")] + [pa.array(match)]
                file.write_table(pa.table([*table.columns, *columns], schema=schema))
        temporary.replace(out)
    except OSError as error:
        raise FlipkdError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return {"pairs": count, "matches": matches}


def _texts(table: pa.Table, column: str) -> list[str]:
    return [clean(text) for text in table[column].to_pylist()]


def _inspect(path: Path, text_a: str, text_b: str) -> tuple[pa.Schema, int]:
    """Columns and number of rows of the input, after a look at every row: nobody waits hours for an error."""
    if file_format(path) == "parquet":
        schema = pq.read_schema(path)
        for number, row in enumerate(_rows(path, [text_a, text_b]), start=1):
            _check_texts(path, number, row, text_a, text_b)
        return schema.remove_metadata(), pq.read_metadata(path).num_rows
    kinds: dict[str, set[type]] = {name: set() for name in header(path)}
    count = 0
    for count, row in enumerate(_rows(path), start=1):
        _check_texts(path, count, row, text_a, text_b)
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    return pa.schema([(name, _column_type(types)) for name, types in kinds.items()]), count


def _column_type(types: set[type]) -> pa.DataType:
    """The narrowest Arrow type for values of some JSON types; a mixture becomes text (JSON)."""
    types = types - {type(None)}
    if types == {bool}:
        return pa.bool_()
    if types == {int}:
        return pa.int64()
    if types and types <= {int, float}:
        return pa.float64()
    return pa.string()


def _check_texts(path: Path, number: int, row: dict[str, Any], text_a: str, text_b: str) -> None:
    for name in (text_a, text_b):
        if not isinstance(row.get(name), str) or not clean(row[name]):
            raise FlipkdError(f"{path.name}: row {number} has no text in {name!r}; fill it or leave the row out")


def _rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    for row in read_rows(path, columns=columns):
        if isinstance(row, Reject):
            raise FlipkdError(f"{path.name}: row {row.number} cannot be read ({row.reason}): {row.raw[:200]}")
        yield row.values


def _tables(path: Path, schema: pa.Schema, text_a: str, text_b: str) -> Iterator[pa.Table]:
    """The input in chunks of `CHUNK_ROWS`, without the columns that are to be added."""
    schema = pa.schema(list(schema)[: -len(ADDED)])
    if file_format(path) == "parquet":
        for batch in pq.ParquetFile(path).iter_batches(CHUNK_ROWS):
            yield pa.Table.from_batches([batch]).cast(schema)
        return
    rows = _rows(path)
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        columns = [
            pa.array([_plain(row.get(field.name), field.type) for row in chunk], field.type) for field in schema
        ]
        yield pa.table(columns, schema=schema)


def _plain(value: Any, kind: pa.DataType) -> Any:
    if value is None or not pa.types.is_string(kind) or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
