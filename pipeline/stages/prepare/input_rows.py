"""What the input is once folders and catalogues are taken apart: files of rows, each read in one way."""

from __future__ import annotations

from typing import Literal

from data.readers import LINE
from pipeline.stages.prepare.input_kinds import (
    FileFormat,
    HardNegatives,
    InputFile,
    PairsFile,
    RawTextsFile,
    UtterancesFile,
)


class SetTextsFile(InputFile):
    """Texts of a retrieval set, or entries of a catalogue, by their ids. Other files make pairs of them."""

    role: Literal["entries", "queries"]
    folder: int  # the set's place in `prepare.inputs`, shared by all files of one set
    set_name: str
    negatives: HardNegatives
    id: str = "_id"
    text: str = "text"
    title: str | None = None


class JudgementsFile(PairsFile):
    """Pairs by the ids of their texts, with a grade."""

    folder: int
    set_name: str
    relevant_from: int
    format: FileFormat | Literal["trec"] = "auto"  # pyright: ignore[reportIncompatibleVariableOverride]
    text_a: str = "query-id"
    text_b: str = "corpus-id"
    label: str | None = "score"
    group: str | None = "query-id"
    catalogue: Literal["text_a", "text_b"] | None = "text_b"


class PointersFile(PairsFile):
    """Queries with the ids of entries in a catalogue's file, and labels; without a label, all are answered.

    The queries are `text_a`, the ids `text_b`, whichever side the config calls the catalogue.

    Attributes:
        folder: the catalogue's place in `prepare.inputs`.
        own_entries: there is no such file: what would be an id is the entry's text itself.
    """

    folder: int
    own_entries: bool


class LinesFile(RawTextsFile):
    """Raw texts, one in each line."""

    format: FileFormat | Literal["lines"] = "lines"  # pyright: ignore[reportIncompatibleVariableOverride]
    text: str = LINE


InputRows = PairsFile | UtterancesFile | RawTextsFile | SetTextsFile
