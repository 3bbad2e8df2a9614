"""The input files: where they lie, which columns they have, and whether they changed meanwhile."""

from __future__ import annotations

from pathlib import Path

from data.errors import FlipkdError
from data.locate import named_path
from data.readers import check_columns
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.expand import files_of, key_of
from pipeline.stages.prepare.input_kinds import PairsFile
from pipeline.stages.prepare.input_rows import InputRows, JudgementsFile


def input_path(name: str, key: str = "prepare.inputs") -> Path:
    """The file that a path of the config stands for.

    Args:
        key: of the config, for messages.

    Raises:
        FlipkdError: it is not there, or is a folder.
    """
    try:
        path = named_path(name)
    except FlipkdError as error:
        raise FlipkdError(f"{key}: {error}") from None
    if path.is_dir():
        raise FlipkdError(f"{key}: {name} is a folder; name the files in it one by one")
    if path.exists() and not path.is_file():
        raise FlipkdError(
            f"{key}: {name} is a pipe or device; write its content to a file, it is read several times"
        )
    if path.is_symlink() and not path.exists():
        raise FlipkdError(f"{key}: {path} is a link to {path.readlink()}, which is not there")
    if not path.is_file():
        raise FlipkdError(f"{key}: no such file: {path}")
    return path


def check_inputs(config: PrepareConfig) -> None:
    """Check every input file's name, format and columns, before any work starts.

    Raises:
        FlipkdError: one is missing or unreadable, or lacks a column.
    """
    files = files_of(config)
    paths = [input_path(file.path, key_of(file)) for file in files]
    names = [file.name or path.name for file, path in zip(files, paths, strict=True)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise FlipkdError(f"prepare.inputs: two files are called {twice!r}; give one of them another `name`")
    for number, file in enumerate(files):
        if file.split and file.split_column:
            raise FlipkdError(f"{key_of(file)}: give `split` or `split_column`, not both")
        for ours, column in columns_of(file).items():
            try:
                check_columns(paths[number], file.format, file.column_names, [column])
            except FlipkdError as error:
                hint = ". A file without labels says `label: null`" if ours == "label" else ""
                if isinstance(file, JudgementsFile):
                    hint = (
                        ". Judgements have the columns query-id, corpus-id and score, or are written as TREC does"
                    )
                raise FlipkdError(f"{key_of(file)}: {error}{hint}") from None


def file_stamps(config: PrepareConfig) -> dict[Path, tuple[int, int]]:
    """Size and time of each file: somebody else may be writing it."""
    found = {}
    for file in files_of(config):
        path = input_path(file.path)
        found[path] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def columns_of(file: InputRows) -> dict[str, str]:
    """Our name of a column to the file's own, for those that the config names."""
    if isinstance(file, PairsFile):
        named = {"text_a": file.text_a, "text_b": file.text_b, "label": file.label, "group": file.group}
    else:
        named = {name: getattr(file, name, None) for name in ("text", "id", "title")}
    return {ours: column for ours, column in (named | {"split": file.split_column}).items() if column}


def source_name(file: InputRows) -> str:
    """What stands in the column `source` for a file."""
    return file.name or input_path(file.path).name
