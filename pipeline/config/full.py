"""`flipkd init --full`: a config with every key, written from the pydantic models themselves."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel

from pipeline.config.config import Config
from pipeline.config.schema_words import config_schema, describe
from pipeline.contract.section import Section
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.input_kinds import (
    CatalogueFile,
    InputEntry,
    InputFile,
    RawTextsFile,
    RetrievalFolder,
    UtterancesFile,
)

WIDTH = 100
HEAD = (
    "flipkd config with every key. What stands here suits the default student; only prepare.inputs must be filled "
    "in, all else may be deleted. Check it with `flipkd status THIS_FILE`, run it with `flipkd run THIS_FILE`."
)
# An input, where the user names none.
EXAMPLE: Mapping[str, Any] = {
    "kind": "pairs", "path": "pairs.csv", "text_a": "text_a", "text_b": "text_b", "label": "label",
}  # fmt: skip
# Inputs of other kinds, which are shown commented out.
EXAMPLES: Mapping[type[BaseModel], str] = {
    UtterancesFile: "utterances.csv", RawTextsFile: "query_log.txt", RetrievalFolder: "a_retrieval_set",
    CatalogueFile: "entries.csv",
}  # fmt: skip


def full_config(preset: str, entries: Sequence[Mapping[str, Any]] = ()) -> str:
    """Every key as YAML text.

    Args:
        preset: its settings are written in place of the defaults.
        entries: of `prepare.inputs`; an example where there are none.
    """
    config = Config.model_validate({"preset": preset, "prepare": {"inputs": list(entries) or [EXAMPLE]}})
    lines = [*comment(HEAD, ""), "", *section(config, "")]
    return "\n".join(lines).rstrip() + "\n"


def section(values: BaseModel, indent: str) -> Iterator[str]:
    """The lines of one section: for each key its description, what is allowed, and its value."""
    for name, info in type(values).model_fields.items():
        value = getattr(values, name)
        if isinstance(values, PrepareConfig) and name == "inputs":
            yield from comment(info.description or "", indent)
            yield f"{indent}inputs:"
            for entry in value:
                yield from _input(entry, f"{indent}  ")
            for kind, path in EXAMPLES.items():
                if not any(isinstance(entry, kind) for entry in value):
                    yield from _example(kind, path, f"{indent}  ")
        elif isinstance(value, Section) and not value.one_setting:
            if not indent:
                yield ""
            yield from comment((value.__doc__ or "").strip(), indent)
            yield f"{indent}{name}:"
            yield from section(value, f"{indent}  ")
        else:
            yield from explained(type(values), name, indent)
            yield f"{indent}{name}: {scalar(value)}"


def _input(entry: InputEntry, indent: str) -> Iterator[str]:
    yield from comment((entry.__doc__ or "").strip(), indent)
    yield f"{indent}- kind: {entry.kind}"
    yield f"{indent}  path: {scalar(entry.path)}"
    for name in type(entry).model_fields:
        if name not in {"kind", "path"}:
            yield from explained(type(entry), name, f"{indent}  ")
            yield f"{indent}  {name}: {scalar(getattr(entry, name))}"


def _example(kind: type[BaseModel], path: str, indent: str) -> Iterator[str]:
    """An input of another kind, commented out."""
    as_above = " Other keys as above." if issubclass(kind, InputFile) else ""
    for paragraph in f"{inspect.cleandoc(kind.__doc__ or '')}{as_above}".split("\n\n"):
        yield from comment(" ".join(paragraph.split()), indent)
    yield f"{indent}# - kind: {kind.model_fields['kind'].default}"
    yield f"{indent}#   path: {path}"
    for name, field in kind.model_fields.items():
        if name not in {*InputFile.model_fields, "kind"}:
            yield from comment(field.description or "", f"{indent}#   ")
            yield f"{indent}#   {name}: {scalar(field.get_default())}"


def explained(model: type[BaseModel], name: str, indent: str) -> list[str]:
    """Comment lines for a key: its description, and what is allowed where that says more."""
    allowed = describe(config_schema(model)["properties"][name])
    known = "" if allowed in {"text", "true or false"} else f" ({allowed})"
    return comment(f"{model.model_fields[name].description}{known}", indent)


def comment(text: str, indent: str) -> list[str]:
    """A text as comment lines."""
    mark = f"{indent}# "
    return [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(
            paragraph, WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False
        )
    ]


def scalar(value: Any) -> str:
    """A value as one line of YAML."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, str) and "\n" in value:
        return json.dumps(value, ensure_ascii=False)  # a double-quoted scalar of YAML, in one line
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("\n")
