"""The reading side of `teach`: what a later stage may ask of its artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from models.teacher.bi_encoder import load_teacher


def taught(teach: Path) -> Iterator[tuple[SentenceTransformer, float]]:
    """The teachers of an artifact of `teach` one by one, each with its share; a teacher that is alone has 1.

    The combined teacher's cosine of two texts is the sum of the teachers' cosines, each times its share.
    """
    told = json.loads((teach / "metrics.json").read_text(encoding="utf-8"))
    combined = read_combination(teach / "teacher")
    if combined is None:
        yield load_teacher(teach / "teacher", trust_remote_code=told["teacher"]["trust_remote_code"]), 1.0
        return
    for about, entry in zip(told["teachers"], combined["teachers"], strict=True):
        trusted = about["teacher"]["trust_remote_code"]
        yield load_teacher(teach / "teacher" / entry["folder"], trust_remote_code=trusted), entry["share"]


COMBINATION = "combination.json"


def read_combination(folder: Path) -> dict[str, Any] | None:
    """What `write_combination` wrote; None where the folder is one teacher."""
    file = folder / COMBINATION
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
