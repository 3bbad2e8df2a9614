"""`flipkd predict`: score the pairs of a file with a saved student, in chunks, as the report's were scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.errors import FlipkdError
from data.schema import with_metadata
from models.student.flipkd_student import DECISION
from models.student.load import load_student
from pipeline.stages.export.scored_parts import SCORES, ScoredParts, student_digest
from pipeline.stages.export.text_file import PROBLEM, check_place, chunks, inspect, written
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
    threshold) are added at the end. A row that cannot be used stays, without scores, and a last column `problem`
    says why. Columns of CSV and TSV stay text; of JSONL, what JSON knows. The output
    is CSV or JSONL by its ending, else Parquet, and appears under its name only when it is complete. Cut off, the
    same call goes on from the last chunk: what was scored lies beside the output, in `.OUT.parts`, until then.

    Args:
        student: the folder `student/` of an export, or the export itself.
        pairs: CSV, TSV, JSONL or Parquet.
        text_a, text_b: columns of the texts.
        batch_pairs: pairs per forward pass.
        trust_remote_code: run the code of the student's base model, for a base that has code of its own.

    Returns:
        `{"pairs", "matches"}`, both counts; and `unusable`, where a row could not be used.

    Raises:
        FlipkdError: the student, the file, a column or every row cannot be used; the message says which.
    """
    check_place(out, pairs)
    columns, count = inspect(pairs, [text_a, text_b], ADDED, strict=False)
    model = load_student(student, trust_remote_code=trust_remote_code)
    if not model.decision:
        raise FlipkdError(
            f"{student}: has no {DECISION}, so there is no fused score; take the student of an export"
        )
    threshold = model.decision["thresholds"]["fused"]
    metadata = {"student": str(model.folder), "threshold": threshold}
    told = [PROBLEM] if PROBLEM in columns.names else []
    own = [field for field in columns if field.name not in told]
    schema = with_metadata(pa.schema([*own, *ADDED.items(), *((name, pa.string()) for name in told)]), metadata)
    counts = {"pairs": count, "matches": 0}
    done = out.with_name(f".{out.name}.parts")
    scored = ScoredParts(model, done, student_digest(model.folder or student), batch_pairs)
    with progress("scoring pairs", count, "pairs") as advance, written(out, schema) as file:
        for table, rows in chunks(pairs, columns, CHUNK_ROWS, [text_a, text_b]):
            texts = [(row[0], row[1]) for row in rows if row is not None]
            found = scored.chunk(texts, advance)
            counts["matches"] += int(found["matches"].sum())
            usable = np.array([row is not None for row in rows])
            added = [_placed(found[name], usable) for name in SCORES]
            columns_of = [table[field.name] for field in own]
            file.write_table(pa.table([*columns_of, *added, *(table[name] for name in told)], schema=schema))
            if told:
                counts["unusable"] = counts.get("unusable", 0) + len(table) - len(texts)
    scored.finish()
    return counts


def _placed(values: np.ndarray, usable: np.ndarray) -> pa.Array:
    """The values of the usable rows, null in all others."""
    whole = np.zeros(len(usable), values.dtype)
    whole[usable] = values
    return pa.array(whole, mask=~usable)
