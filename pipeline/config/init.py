"""`flipkd init`: a commented config with every key at its default, written from the pydantic models themselves."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.nightly import Limit
from pipeline.config.schema_words import config_schema, describe, resolve
from pipeline.stages.filter.config import Bound
from pipeline.stages.prepare.config import PairsFile, UtterancesFile

WIDTH = 100
IN_A_LINE = (Bound, Limit)  # sections that are written as one value
HEAD = """\
flipkd config. Every key stands at its default; only prepare.inputs must be filled in, all else may be deleted.
Check it with `flipkd status THIS_FILE`, run it with `flipkd run THIS_FILE`.
"""


def write_config(path: Path) -> None:
    """Write the commented config.

    Raises:
        FlipkdError: something is there already, or the file is not .yaml, or cannot be written.
    """
    if path.suffix not in {".yaml", ".yml"}:
        raise FlipkdError(f"{path}: the config is written as YAML; choose a name that ends in .yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(commented_config())
    except FileExistsError:
        raise FlipkdError(f"{path} is there already; choose another name") from None
    except OSError as error:
        raise FlipkdError(f"{path} cannot be written: {error.strerror}") from None


def commented_config() -> str:
    """The config as YAML text."""
    lines = [*comment(HEAD.strip(), ""), ""]
    lines += section(Config, "")
    return "\n".join(lines).rstrip() + "\n"


def section(model: type[BaseModel], indent: str) -> Iterator[str]:
    """The lines of one section: for each key its description, what is allowed, and its default."""
    for name, info in model.model_fields.items():
        inner = _section_of(info)
        if name == "inputs":
            yield from inputs(info, indent)
        elif inner is None:
            yield from explained(model, name, indent)
            yield f"{indent}{name}: {scalar(info.get_default())}"
        else:
            if not indent:
                yield ""
            yield from comment((inner.__doc__ or "").strip(), indent)
            yield f"{indent}{name}:"
            yield from section(inner, f"{indent}  ")


def inputs(info: FieldInfo, indent: str) -> Iterator[str]:
    """The list of files: one of pairs, and one of utterances as a comment."""
    inner = f"{indent}  "
    yield from comment(info.description or "", indent)
    yield f"{indent}inputs:"
    yield from comment((PairsFile.__doc__ or "").strip(), inner)
    for name, value in {"kind": "pairs", "path": "pairs.csv"}.items():
        yield f"{inner}{'- ' if name == 'kind' else '  '}{name}: {value}"
    for name, field in PairsFile.model_fields.items():
        if name not in {"kind", "path"}:
            yield from explained(PairsFile, name, f"{inner}  ")
            yield f"{inner}  {name}: {scalar(field.get_default())}"
    yield from comment(f"{(UtterancesFile.__doc__ or '').strip()} Other keys as above.", inner)
    yield f"{inner}# - kind: utterances"
    yield f"{inner}#   path: utterances.csv"
    for name, field in UtterancesFile.model_fields.items():
        if name not in PairsFile.model_fields:
            yield f"{inner}#   {name}: {scalar(field.get_default())}  # {field.description}"


def explained(model: type[BaseModel], name: str, indent: str) -> list[str]:
    """Comment lines for a key: its description, and what is allowed where that says more."""
    schema = resolve({"$ref": f"#/$defs/{model.__name__}"}) if model is not Config else config_schema()
    allowed = describe(schema["properties"][name])
    known = "" if allowed in {"text", "true or false"} else f" ({allowed})"
    return comment(f"{model.model_fields[name].description}{known}", indent)


def _section_of(info: FieldInfo) -> type[BaseModel] | None:
    annotation: Any = info.annotation
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in IN_A_LINE
    return annotation if is_section else None


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
    """A default as one line of YAML."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, str) and "\n" in value:
        return json.dumps(value, ensure_ascii=False)  # a double-quoted scalar of YAML, in one line
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("\n")
