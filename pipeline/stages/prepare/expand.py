"""The config's inputs as files of rows: a folder is taken apart, and what points to a catalogue is told so."""

from __future__ import annotations

from pathlib import PurePath

from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.input_kinds import (
    CatalogueFile,
    HardNegatives,
    InputEntry,
    InputFile,
    PairsFile,
    RawTextsFile,
    RetrievalFolder,
    RowsOfUsers,
    UtterancesFile,
)
from pipeline.stages.prepare.input_rows import InputRows, JudgementsFile, LinesFile, PointersFile, SetTextsFile
from pipeline.stages.prepare.retrieval_folder import files_in


def files_of(config: PrepareConfig) -> list[InputRows]:
    """All input files in order, those of a retrieval set's folder in its place; a catalogue's file comes first.

    Raises:
        FlipkdError: a folder is not there, or lacks its documents, queries or judgements.
    """
    found: list[InputRows] = []
    catalogue = next((n for n, entry in enumerate(config.inputs) if isinstance(entry, CatalogueFile)), None)
    # Entries are read before what names them.
    for place, entry in sorted(enumerate(config.inputs), key=lambda one: one[0] != catalogue):
        found += [file if file.is_placed else file.placed(place) for file in _files(entry, place, catalogue)]
    return found


def _files(entry: InputEntry, place: int, catalogue: int | None) -> list[InputRows]:
    if isinstance(entry, RetrievalFolder):
        return list(files_in(entry, place))
    if isinstance(entry, CatalogueFile):
        return [_entries(entry, place)]
    if isinstance(entry, RawTextsFile) and entry.format == "auto" and entry.path.lower().endswith(".txt"):
        return [LinesFile(path=entry.path, name=entry.name)]
    if catalogue is not None and isinstance(entry, UtterancesFile):
        return [_pointers(entry, catalogue, text_a=entry.text, text_b=entry.id, label=None)]
    if isinstance(entry, PairsFile) and entry.catalogue and (catalogue is not None or entry.matches_only):
        query, id = entry.text_a, entry.text_b
        query, id = (query, id) if entry.catalogue == "text_b" else (id, query)
        label = None if entry.matches_only else entry.label
        return [_pointers(entry, catalogue, text_a=query, text_b=id, label=label, group=entry.group, place=place)]
    return [entry]


def _pointers(entry: RowsOfUsers, catalogue: int | None, *, place: int = 0, **columns: str | None) -> PointersFile:
    shared = entry.model_dump(include=set(RowsOfUsers.model_fields))
    own = {"folder": place if catalogue is None else catalogue, "own_entries": catalogue is None}
    return PointersFile.model_validate(shared | columns | own | {"catalogue": "text_b"})


def _entries(entry: CatalogueFile, place: int) -> SetTextsFile:
    texts = {"title": entry.title, "text": entry.answer} if entry.answer else {"text": entry.title}
    shared = entry.model_dump(include=set(InputFile.model_fields) | {"id"})
    own = {"role": "entries", "folder": place, "set_name": entry.name or PurePath(entry.path).name}
    negatives = HardNegatives(nearest=entry.nearest, margin=entry.margin)
    return SetTextsFile.model_validate(shared | texts | own | {"negatives": negatives})


def expanded(config: PrepareConfig) -> PrepareConfig:
    """The config with files of rows in place of folders and catalogues.

    Where all input is retrieval sets, a split that each of them has a file for takes nothing from the others.
    """
    files = files_of(config)
    if all(isinstance(entry, RetrievalFolder) for entry in config.inputs):
        given = {file.split for file in files if isinstance(file, JudgementsFile)}
        nothing = {split: 0.0 for split in ("dev", "test") if split in given}
        config = config.model_copy(update={"splitting": config.splitting.model_copy(update=nothing)})
    return config.model_copy(update={"inputs": files})


def key_of(file: InputRows) -> str:
    """The key of the config that a file comes from, for messages."""
    return f"prepare.inputs.{file.place}"
