"""Scores of pairs in chunks, kept until the whole file is written: a run that was cut off goes on from them."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.shards import read_shard, texts_digest, write_shard
from models.student.flipkd_student import DECISION, SETTINGS, FlipkdStudent
from models.student.load import score_pairs

log = logging.getLogger("flipkd.predict")
CHUNK_CHARACTERS = 2**22
SCORES = ("decoder", "encoder", "fused", "matches")  # what the student calls them


@dataclass
class ScoredParts:
    """A student's scores of chunk after chunk.

    Attributes:
        folder: where they are kept; made with the first chunk, removed by `finish`.
        digest: of the student and of how it is asked, so that nobody else's scores are taken.
    """

    student: FlipkdStudent
    folder: Path
    digest: str
    batch_pairs: int
    number: int = field(default=0, init=False)
    found: int = field(default=0, init=False)

    def chunk(self, texts: list[tuple[str, str]], advance: Callable[[float], None]) -> dict[str, np.ndarray]:
        """The next chunk's scores, (n,) float32 each; `matches` bool."""
        digest = texts_digest([self.digest, str(self.batch_pairs), *(text for pair in texts for text in pair)])
        path = self.folder / f"chunk-{self.number:06d}-{digest}.npy"
        self.number += 1
        numbers = read_shard(path, (len(texts), len(SCORES)))
        if numbers is None:
            scores = [score_pairs(self.student, part, self.batch_pairs, advance) for part in _parts(texts)]
            # Without a usable row there is no part.
            columns = [[np.empty(0, np.float32), *(part[name] for part in scores)] for name in SCORES]
            numbers = np.stack([np.concatenate(parts).astype(np.float32) for parts in columns], axis=1)
            self.folder.mkdir(exist_ok=True)
            write_shard(path, numbers)
        else:
            self.found += len(texts)
            advance(len(texts))
        kept = dict(zip(SCORES, numbers.T, strict=True))
        return kept | {"matches": kept["matches"] == 1}

    def finish(self) -> None:
        """The whole file is written: the parts are needed no more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.found:
            log.info("predict: %d pairs had been scored by a run that was cut off", self.found)


def student_digest(folder: Path) -> str:
    """Of what a student's scores depend on; of its base only the name, for that may be many GB."""
    total = hashlib.sha256()
    for name in (SETTINGS, DECISION, "adapter_config.json", "adapter_model.safetensors", "pooling.safetensors"):
        file = folder / name
        if file.is_file():
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _parts(texts: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The pairs in parts of `CHUNK_CHARACTERS` or one pair: a tokenizer takes a hundred bytes a character."""
    part: list[tuple[str, str]] = []
    characters = 0
    for pair in texts:
        own = len(pair[0]) + len(pair[1])
        if part and characters + own > CHUNK_CHARACTERS:
            yield part
            part, characters = [], 0
        part.append(pair)
        characters += own
    if part:
        yield part
