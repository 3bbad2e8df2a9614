"""`flipkd predict`: score the pairs of a file with a saved student, in chunks, as the report's were scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.errors import FlipkdError
from data.schema import with_metadata
from models.student.flipkd_student import DECISION
from models.student.load import load_student, score_pairs
from pipeline.stages.export.text_file import check_place, inspect, tables, texts_of, written
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
    """Write a file with every column of the input, and the student's scores and verdict beside them.

    The columns `decoder` and `fused` (probabilities), `encoder` (cosine), and `match` (`fused` at or above its
    threshold) are added at the end. Columns of CSV and TSV stay text; of JSONL, what JSON knows. The output
    is CSV or JSONL by its ending, else Parquet, and appears under its name only when it is complete.

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
    check_place(out, pairs)
    columns, count = inspect(pairs, [text_a, text_b], ADDED)
    model = load_student(student, trust_remote_code=trust_remote_code)
    if not model.decision:
        raise FlipkdError(
            f"{student}: has no {DECISION}, so there is no fused score; take the student of an export"
        )
    threshold = model.decision["thresholds"]["fused"]
    metadata = {"student": str(model.folder), "threshold": threshold}
    schema = with_metadata(pa.schema([*columns, *ADDED.items()]), metadata)
    matches = 0
    with progress("scoring pairs", count, "pairs") as advance, written(out, schema) as file:
        for table in tables(pairs, columns, CHUNK_ROWS):
            texts = list(zip(texts_of(table, text_a), texts_of(table, text_b), strict=True))
            scores = score_pairs(model, texts, batch_pairs, advance)
            match = scores["fused"].astype(np.float64) >= threshold
            matches += int(match.sum())
            added = [pa.array(scores[name]) for name in ("decoder", "encoder", "fused")] + [pa.array(match)]
            file.write_table(pa.table([*table.columns, *added], schema=schema))
    return {"pairs": count, "matches": matches}
