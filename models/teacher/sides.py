"""Teachers that read a query and a document with another prompt each: what is put before the texts of a catalogue.

E5, BGE and Qwen3-Embedding are of this kind. sentence-transformers keeps the prompts in the model's folder, and
its `encode_query` and `encode_document` put them before a text; so does this, on texts of both sides at once.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from sentence_transformers import SentenceTransformer

from models.teacher.bi_encoder import prompt_of

# Under which names the prompts are looked for, in this order, as sentence-transformers does.
QUERY, DOCUMENT = ("query",), ("document", "passage", "corpus")


class Sides(NamedTuple):
    """What is put before a query, and before an entry of a catalogue."""

    query: str
    document: str

    def given(self, texts: Sequence[str], entries: Container[str]) -> list[str]:
        """The texts as the teacher is given them; those that are entries are documents, all others queries."""
        return [(self.document if text in entries else self.query) + text for text in texts]


NEITHER = Sides("", "")


def sides_of(teacher: SentenceTransformer) -> Sides:
    """A teacher's prompts; `NEITHER` where it has none, or one that it puts before every text."""
    if prompt_of(teacher):
        return NEITHER
    return Sides(*(_first(teacher, names) for names in (QUERY, DOCUMENT)))


def _first(teacher: SentenceTransformer, names: Sequence[str]) -> str:
    return next((found for name in names if (found := teacher.prompts.get(name))), "")
