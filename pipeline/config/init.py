"""`flipkd init`: a config for a first run, with the columns of the user's own files if they are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.errors import FlipkdError
from data.locate import PACKAGE, user_path
from pipeline.config.config import Config
from pipeline.config.full import EXAMPLE, comment, full_config, scalar
from pipeline.config.presets import PRESETS, dotted
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.filter.config import FilterConfig
from pipeline.stages.prepare.config import Splitting
from pipeline.stages.prepare.guess import guess_input
from pipeline.stages.teach.config import TeachConfig

PRESET = "small_student"  # suits the default student
_REMARKS = {
    "kind": "or utterances: with `text` and `id`, an intent or FAQ entry; then pairs are built",
    "path": "CSV, TSV, JSON, JSONL, Parquet or Arrow, relative to this file",
    "label": "1 or 0, empty for a pair without a label; null if there is no such column",
    "id": "texts of one id match",
    "column_names": "the file has no header line",
    "matches_only": "every row is a match: a question beside the entry that answers it",
    "catalogue": "its texts may stand in every split; the other side's are held out",
}
_REMARKS_OF = {
    "utterances": {"kind": "texts with an intent or FAQ entry each"},
    "retrieval": {
        "kind": "documents, queries and judgements, as BEIR has them",
        "path": "the folder, relative to this file",
    },
    "catalogue": {
        "kind": "entries, to which the questions of the other files point by id",
        "path": "relative to this file",
        "id": "no two entries have the same",
        "title": "the text of an entry",
        "answer": "a longer text, set behind the title",
    },
}


def write_config(path: Path, inputs: Sequence[str] = (), full: bool = False) -> None:
    """Write a commented config.

    Args:
        inputs: files whose columns are filled in; an example where none is named.
        full: every key, and not only what a first run needs.

    Raises:
        FlipkdError: something is there already, or the file is not .yaml, or cannot be written; an input cannot be
            read, or its columns do not tell what they are.
    """
    if path.suffix not in {".yaml", ".yml"}:
        raise FlipkdError(f"{path}: the config is written as YAML; choose a name that ends in .yaml")
    entries = [guess_input(name, beside=len(inputs) > 1) for name in inputs]
    for entry in entries:
        entry["path"] = _from_folder(entry["path"], path.resolve().parent)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(full_config(PRESET, entries) if full else first_config(entries))
    except FileExistsError:
        raise FlipkdError(f"{path} is there already; choose another name") from None
    except OSError as error:
        raise FlipkdError(f"{path} cannot be written: {error.strerror}") from None


def _from_folder(name: str, folder: Path) -> str:
    """The path of an input as the config names it: relative to the config's folder if it lies in there."""
    if name.startswith(PACKAGE):
        return name
    path = user_path(name).resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def first_config(entries: Sequence[Mapping[str, Any]] = ()) -> str:
    """What a first run needs as YAML text.

    Args:
        entries: of `prepare.inputs`; an example where there are none.
    """
    splitting, teach, filter, distill = Splitting(), TeachConfig(), FilterConfig(), DistillConfig()
    sets = ", ".join(f"{key} {scalar(value)}" for key, value in dotted(PRESETS[PRESET]))
    fits = (
        f"For a student of some 100 M parameters, not for a larger one. Where this file does not, it sets {sets}."
    )
    preset = "\n".join(comment(fits, ""))
    inputs = "\n".join(line for entry in entries or [EXAMPLE] for line in _entry(entry))
    return f"""\
# What a first run needs. Check it with `flipkd status THIS_FILE`, run it with `flipkd run THIS_FILE`.
# `flipkd init --full all.yaml` writes every key, explained.

{preset}
preset: {PRESET}
seed: {Config.model_fields["seed"].default}
prepare:
  inputs:
{inputs}
  # Shares of the groups that are held out. Texts and groups never stand in two splits.
  splitting: {{by: {splitting.by}, dev: {splitting.dev}, test: {splitting.test}}}
# Models: a hub id (org/name), a local folder, or package:import_name/path.
teach:
  model: {teach.model}
  epochs: {teach.epochs:g}
# The dual threshold: pairs in the teacher's doubtful tails do not reach the student.
filter:
  tau_pos: {scalar(filter.tau_pos)}
  tau_neg: {scalar(filter.tau_neg)}
distill:
  model: {distill.model}
  epochs: {distill.epochs:g} # passes over the pairs that are kept
  prompt: # in the language of your texts
    template: {scalar(distill.prompt.template)}
    answers: {scalar(distill.prompt.answers)} # for label 0 and label 1
"""


def _entry(entry: Mapping[str, Any]) -> Iterator[str]:
    for place, (key, value) in enumerate(entry.items()):
        known = _REMARKS | _REMARKS_OF.get(entry["kind"], {})
        remark = f" # {known[key]}" if key in known else ""
        yield f"    {'  ' if place else '- '}{key}: {scalar(value)}{remark}"
