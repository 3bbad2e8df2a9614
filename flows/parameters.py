"""Parameters of the deployed flows: a config file on the worker's machine, and a form of changes to it.

The form is made out of the config's own sections, so its ranges and descriptions never go stale. All of it is
optional, and what is left out stays as the file has it.
"""

from __future__ import annotations

import functools
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from pipeline.config.config import Config
from pipeline.config.load import DEMO, load_config, trial, validated
from pipeline.config.location import anchor
from pipeline.config.schema_words import describe
from pipeline.contract.section import Section

ConfigFile = Annotated[str, Field(min_length=1)]


class Changes(BaseModel):
    """What differs from the config file; what is left out, or null, stays as it is there."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is null: a deployment's default is `{}`, not a list of all fields."""
        return {name: value for name, value in handler(self).items() if value is not None}


@functools.cache
def changes_of(section: type[Section]) -> type[Changes]:
    """A model with a section's fields, ranges and descriptions, and no defaults: the form for changes to it."""
    fields: dict[str, Any] = {
        name: _change(info)
        for name, info in section.model_fields.items()
        if name != "preset"  # it goes under the file's own values, and changes go over them
    }
    name = "Changes" if section is Config else f"{section.__name__.removesuffix('Config')}Changes"
    title = {"title": own} if (own := section.model_config.get("title")) else {}
    return create_model(name, __base__=Changes, __doc__=section.__doc__, __cls_kwargs__=title, **fields)


def load_changed(config: str, changes: Changes) -> Config:
    """Read the config file and put the changes over it.

    With changes it is a trial: `promote: auto` of the file then promotes nothing, unless `promote` is among them.

    Args:
        changes: an instance of `changes_of(Config)`.

    Raises:
        FlipkdError: the file is wrong, or becomes so by the changes.
    """
    as_it_is = load_config(config)
    values = _changed(as_it_is, changes)
    changed = validated(type(as_it_is), values, f"{config} with the changes of this run")
    if changed != as_it_is and not changes.model_dump().get("promote"):
        changed = trial(changed)
    return anchor(changed, Path.cwd() if config == DEMO else Path(config).expanduser().resolve().parent)


def _changed(section: BaseModel, changes: Changes) -> dict[str, Any]:
    values = section.model_dump()
    for name in changes.model_fields_set:
        change, now = getattr(changes, name), getattr(section, name)
        if not isinstance(change, Changes):
            values[name] = values[name] if change is None else change
        elif not now.one_setting:
            values[name] = _changed(now, change)
        elif given := change.model_dump():  # a form that was opened and left empty changes nothing
            values[name] = given
    return values


def _change(info: FieldInfo) -> tuple[Any, FieldInfo]:
    """A field of a section as an optional one: null is allowed, but kept out of the form."""
    kind, description = _without_none(info.annotation), info.description
    if isinstance(kind, type) and issubclass(kind, Section):
        description = description or (kind.__doc__ or "").strip()
        kind = _short_value(kind) | changes_of(kind) if kind.one_setting else changes_of(kind)
    kind = Annotated[kind, *info.metadata] if info.metadata else kind
    field: Any = Field(default=None, description=description, json_schema_extra=_for_the_form)
    return kind | SkipJsonSchema[None], field


def _short_value(section: type[Section]) -> Any:
    """What a plain value in place of a section may be; its title is a tab of the form, as is the section's."""
    name = section.short_for or ""
    info = section.model_fields[name]
    return Annotated[_without_none(info.annotation), Field(title=info.title or name.capitalize())]


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return Union[tuple(kind for kind in get_args(annotation) if kind is not NoneType)]  # noqa: UP007


def _for_the_form(schema: dict[str, Any]) -> None:
    """Adapt a field to Prefect's page.

    The page shows no range, so it goes into the description. It shows a boolean as a switch that cannot be left
    alone, so a boolean becomes a choice. Without a default, Prefect lets null pass.
    """
    schema.pop("default")
    for branch in [schema, *schema.get("anyOf", ())]:
        if branch.get("type") in {"integer", "number"}:
            schema["description"] = f"{schema['description'].rstrip('.')}: {describe(branch)}."
    if schema.get("type") == "boolean":
        del schema["type"]
        schema["enum"] = [True, False]
