"""A retrieval set's folder as the files in it: its documents, its queries, and the judgements of each split.

BEIR's layout, and its variants on the hub: `corpus.jsonl` or `corpus/*.parquet`, the same for `queries`, and
`qrels/train.tsv`, or `qrels/train-00000-of-00001.parquet`. `validation` is another word for dev.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from data.collect import SPLITS
from data.errors import FlipkdError
from data.locate import named_path
from data.readers import ENDINGS, header, listed
from data.trec import is_trec
from pipeline.stages.prepare.input_kinds import HardNegatives, RetrievalFolder
from pipeline.stages.prepare.input_rows import InputRows, JudgementsFile, SetTextsFile

_FIELDS = ("query-id", "corpus-id", "score")
_QRELS = re.compile(r"(train|dev|validation|test)(-\d+-of-\d+)?")
_TEXT_ENDINGS = {".txt", ".qrels", ".trec"}
_IDS = ("_id", "id")


def is_retrieval_folder(path: Path) -> bool:
    """Whether a folder looks like a retrieval set."""
    return path.is_dir() and (path / "qrels").is_dir()


def files_in(entry: RetrievalFolder, place: int) -> Iterator[InputRows]:
    """The files of a set, texts first.

    Args:
        place: of the set in `prepare.inputs`.

    Raises:
        FlipkdError: the folder is not there, or lacks its documents, queries or judgements.
    """
    key = f"prepare.inputs.{place}"
    try:
        path = named_path(entry.path)
    except FlipkdError as error:
        raise FlipkdError(f"{key}: {error}") from None
    if not path.is_dir():
        raise FlipkdError(f"{key}: no such folder: {path}. `kind: retrieval` takes a folder with corpus.jsonl, "
                          "queries.jsonl and qrels/")  # fmt: skip
    name = entry.name or path.resolve().name
    negatives = HardNegatives(nearest=entry.nearest, margin=entry.margin)
    roles: tuple[tuple[Literal["entries", "queries"], str], ...] = (("entries", "corpus"), ("queries", "queries"))
    for role, stem in roles:
        for file in _texts(path, stem, key):
            columns = header(file)
            id = next((known for known in _IDS if known in columns), _IDS[0])
            title = "title" if role == "entries" and "title" in columns else None
            yield SetTextsFile(
                path=str(file),
                name=_name(name, path, file),
                role=role,
                folder=place,
                set_name=name,
                negatives=negatives,
                id=id,
                title=title,
            )
    yield from _judgements(entry, path, name, place, key)


def _texts(folder: Path, stem: str, key: str) -> list[Path]:
    """`corpus.jsonl`, or the shards in `corpus/`."""
    inside = sorted((folder / stem).glob("*")) if (folder / stem).is_dir() else sorted(folder.glob(f"{stem}.*"))
    found = [file for file in inside if file.suffix.lower() in ENDINGS and file.is_file()]
    if not found:
        raise FlipkdError(
            f"{key}: {folder} holds no {stem}.jsonl (nor {stem}.parquet, nor a folder {stem} of such files); in "
            f"it are {listed(sorted(file.name for file in folder.iterdir()))}"
        )
    if len(found) > 1 and not (folder / stem).is_dir():
        raise FlipkdError(f"{key}: {folder} holds {listed([file.name for file in found])}; keep one of them")
    return found


def _judgements(entry: RetrievalFolder, folder: Path, name: str, place: int, key: str) -> Iterator[JudgementsFile]:
    inside = sorted((folder / "qrels").glob("*")) if (folder / "qrels").is_dir() else []
    by_split: dict[str, list[Path]] = {}
    for file in inside:
        if file.suffix.lower() in {*ENDINGS, *_TEXT_ENDINGS} and (known := _QRELS.fullmatch(file.stem)):
            by_split.setdefault(known[1].replace("validation", "dev"), []).append(file)
    if not by_split:
        raise FlipkdError(
            f"{key}: {folder} holds no judgements; expected are qrels/train.tsv, qrels/dev.tsv or qrels/test.tsv "
            f"with the columns {listed(_FIELDS)}"
        )
    # What a missing file would hold is taken from train, or from all where there is no train.
    missing = [split for split in SPLITS if split not in by_split]
    open_splits = set() if not missing else {"train"} if "train" in by_split else set(by_split)
    for split in SPLITS:
        for file in by_split.get(split, []):
            format, column_names = _format(file)
            yield JudgementsFile(
                path=str(file),
                name=_name(name, folder, file),
                format=format,
                column_names=column_names,
                split=None if split in open_splits else split,  # pyright: ignore[reportArgumentType]
                folder=place,
                set_name=name,
                relevant_from=entry.relevant_from,
            )


def _format(file: Path) -> tuple[Literal["auto", "tsv", "trec"], list[str] | None]:
    """How a file of judgements is written, and its columns where it has no header."""
    if file.suffix.lower() in {".parquet", ".pq", ".jsonl", ".ndjson"}:
        return "auto", None
    if is_trec(file):
        return "trec", None
    format = "tsv" if file.suffix.lower() in _TEXT_ENDINGS else "auto"
    first: Sequence[str] = header(file, format)
    without_header = len(first) == len(_FIELDS) and first[-1].lstrip("+-").isdigit()
    return format, list(_FIELDS) if without_header else None


def _name(set_name: str, folder: Path, file: Path) -> str:
    return f"{set_name}/{file.relative_to(folder).as_posix()}"
