"""What the parts of the config have in common: how a section behaves, and the types that several of them use."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

# Marks on a field: how it enters the key of a stage's artifact. A field without a mark enters with its value.
NOT_IN_KEY = "flipkd_not_in_key"
IN_KEY_IF_SET = "flipkd_in_key_if_set"
BY_IDENTITY = "flipkd_by_identity"
SHORT_FOR = "flipkd_short_for"  # in the JSON schema of a section
MODEL_NAME = "a hub id (`org/name` or `org/name@revision`), a local folder, or `package:import_name/path`"

Share = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Positive = Annotated[int, Field(ge=1)]


def not_in_key() -> dict[str, Any]:
    """`json_schema_extra` of a field that does not change a stage's result, or enters the key in another place."""
    return {NOT_IN_KEY: True}


def by_identity(what: Literal["file", "model"]) -> dict[str, Any]:
    """`json_schema_extra` of a field that names a file or a model.

    The identity of what it names enters the key, among the stage's inputs (`Stage.raw_inputs`), and not the name:
    a file that was moved is still the same file. Relative paths go by the folder of the config.
    """
    return {BY_IDENTITY: what}


def in_key_if_set() -> dict[str, Any]:
    """`json_schema_extra` of a field that came later, and at its default does what was done before it came.

    At its default it stays out of the key, so artifacts from before it stay valid.
    """
    return {IN_KEY_IF_SET: True}


def marks_of(info: FieldInfo) -> dict[str, Any]:
    """The marks of a field."""
    return dict(info.json_schema_extra) if isinstance(info.json_schema_extra, dict) else {}


class Section(BaseModel):
    """A part of the config: unknown keys are errors, and nothing changes after validation.

    Attributes:
        short_for: the field that a plain value is short for where it stands in place of the section: a number for
            a field that holds numbers, else a text.
        one_setting: all fields say the same thing in different notations: it is written in one line, and
            replaced as a whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)
    short_for: ClassVar[str | None] = None
    one_setting: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, data: Any) -> Any:
        if cls.short_for is None or isinstance(data, bool):
            return data
        kinds = (int, float) if _is_number(cls.model_fields[cls.short_for].annotation) else str
        return {cls.short_for: data} if isinstance(data, kinds) else data

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        if cls.short_for:
            handler.resolve_ref_schema(schema)[SHORT_FOR] = cls.short_for
        return schema

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, data: Any) -> Any:
        """Refuse `seed: true`, which pydantic would read as 1; `"3e-4"` stays a number (in YAML it is text)."""
        given = data if isinstance(data, dict) else {}
        wrong = [
            InitErrorDetails(type=PydanticCustomError("number_type", "not a number"), loc=(name,), input=value)
            for name, value in given.items()
            if isinstance(value, bool)
            and name in cls.model_fields
            and _is_number(cls.model_fields[name].annotation)
        ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return data


def _is_number(annotation: Any) -> bool:
    """Whether a number is among what a field may hold, `Share | None` too."""
    return annotation in (int, float) or any(map(_is_number, get_args(annotation)))
