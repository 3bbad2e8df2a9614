"""Every key of the config as one page: `python -m pipeline.config.reference > docs/CONFIG.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.config import Config
from pipeline.config.full import scalar
from pipeline.config.presets import PRESETS, dotted
from pipeline.config.schema_words import config_schema, describe
from pipeline.contract.section import Section
from pipeline.stages.prepare.input_kinds import PairsFile
from pipeline.terminal.markdown import markdown_table

INTRO = """\
A config is YAML or TOML. Only `prepare.inputs` must be given: `flipkd init` writes a first config, `flipkd init
--full` one with every key. Paths go by the config's folder. A command takes `--set KEY=VALUE` over the file, with
the dotted keys of this page: `--set filter.tau_pos=0.7`.

**What a change costs**: a key of a stage's section makes that stage and those after it run anew, unless it cannot
change a result, such as `teach.checkpoint_minutes`; `flipkd status --set KEY=VALUE` says beforehand which, and
why. With `preset: small_student`, which `flipkd init` writes, the keys in the last table have other values than
the defaults here.
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join(["# The config\n", INTRO, *_section(Config, "", "All stages"), *_presets()]).rstrip() + "\n"


def _section(model: type[BaseModel], prefix: str, title: str) -> Iterator[str]:
    """One section's keys as a table, then the sections in it."""
    schema = config_schema(model)["properties"]
    fields = model.model_fields
    inner = {name: parts for name, info in fields.items() if (parts := _sections_in(info.annotation))}
    yield f"## {title}\n" if not prefix or "." not in prefix.strip(".") else f"### {title}\n"
    file_keys = {name for name in fields if model is not PairsFile and _as_for_pairs(name, fields[name])}
    if prefix:
        yield from (_paragraph(text) for text in inspect.cleandoc(model.__doc__ or "").split("\n\n"))
    if file_keys:
        yield f"As for pairs: {', '.join(f'`{name}`' for name in fields if name in file_keys)}.\n"
    plain = {name: info for name, info in fields.items() if name not in {*inner, *file_keys, "kind"}}
    if plain:
        rows = [_row(f"{prefix}{name}", info, describe(schema[name])) for name, info in plain.items()]
        yield markdown_table(["key", "default", "may be", ""], rows)
    for name, parts in inner.items():
        place = f"{prefix}{name}"
        if len(parts) == 1 and not _is_list(fields[name].annotation):
            yield from _section(parts[0], f"{place}.", f"`{place}`")
        else:
            for part in parts:
                kind = part.model_fields.get("kind")
                of_kind = f", `kind: {kind.default}`" if kind is not None else ""
                yield from _section(part, f"{place}[].", f"`{place}`, an entry{of_kind}")


def _as_for_pairs(name: str, info: FieldInfo) -> bool:
    """Whether a key of an input says what the same key of a file of pairs says."""
    own = PairsFile.model_fields.get(name)
    return own is not None and bool(info.description) and info.description == own.description


def _row(key: str, info: FieldInfo, allowed: str) -> list[str]:
    default = "" if info.is_required() else f"`{scalar(info.get_default(call_default_factory=True))}`"
    return [f"`{key}`", default, allowed, info.description or ""]


def _sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a field holds, one or a list of several kinds; none where a line says it all."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [] if annotation.one_setting else [annotation]
    if get_origin(annotation) is Annotated:
        return _sections_in(get_args(annotation)[0])
    return [section for part in get_args(annotation) for section in _sections_in(part)]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


def _paragraph(text: str) -> str:
    return " ".join(text.split()) + "\n"


def _presets() -> Iterator[str]:
    for name, settings in PRESETS.items():
        rows = [[f"`{key}`", f"`{scalar(value)}`"] for key, value in dotted(settings)]
        yield f"## `preset: {name}`\n\n{markdown_table(['key', 'value'], rows)}"


if __name__ == "__main__":
    sys.stdout.write(page())
