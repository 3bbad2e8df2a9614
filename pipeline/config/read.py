"""A config file to plain values: YAML or TOML, and nothing that runs, blows up or reads for ever."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

from data.errors import FlipkdError
from data.records import has_surrogates
from pipeline.config.schema_words import shown

# A config lists files and settings, not data. PyYAML reads some 100 kB a second.
MOST_BYTES = 256 * 1024
MOST_VALUES = 100_000


def read_config(path: Path) -> dict[str, Any]:
    """The values of a config file.

    Raises:
        FlipkdError: it is not there, no text, too large, or no valid YAML or TOML.
    """
    if path.suffix not in {".yaml", ".yml", ".toml"} and not path.is_dir():
        raise FlipkdError(f"{path}: a config ends in .yaml, .yml or .toml")
    text = _text(path)
    if path.suffix != ".toml":
        return parse_yaml(text, str(path))
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise FlipkdError(f"{path} is not valid TOML: {_reason(error)}") from None


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or device, not a file"
            raise FlipkdError(f"{path} is {what}; name a config file, such as {path / 'flipkd.yaml'}")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            size = path.stat().st_size / 1e6
            raise FlipkdError(
                f"{path} has {size:.1f} MB, and a config at most {MOST_BYTES // 1024} kB; is this a data file?"
            )
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise FlipkdError(
            f"no such config: {path}. `flipkd init {path}` writes one; `demo` is the one that ships with flipkd"
        ) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1  # pyright: ignore[reportPossiblyUnboundVariable]
        raise FlipkdError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None
    except (OSError, ValueError) as error:
        raise FlipkdError(f"{path} cannot be read: {_reason(error)}") from None


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "a merge (<<) is not known in a config; write its keys out", key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key)} must be text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # the 45th of a month, a number of 5,000 digits
            raise yaml.constructor.ConstructorError(
                None, None, f"{error} (text goes in quotes)", node.start_mark
            ) from None


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """The mapping that a YAML text holds.

    Args:
        name: of the file, for messages.

    Raises:
        FlipkdError: it is not valid YAML, or no mapping.
    """
    try:
        raw = parse_value(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise FlipkdError(f"{name}{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise FlipkdError(f"{name}: not valid YAML: {_reason(error)}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise FlipkdError(f"{name}: the config must be a mapping of sections, not {shown(raw)}")
    return raw


def parse_value(text: str) -> Any:
    """A YAML text as plain values.

    Raises:
        yaml.YAMLError: it is not valid, nested too deeply, or grows by aliases beyond all measure.
    """
    try:
        # A subclass of SafeLoader: it builds plain values alone.
        raw = yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    waiting, count = [raw], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, str) and has_surrogates(value):
            raise yaml.YAMLError(f"half a character stands in {shown(value)}; write the character itself")
        if isinstance(value, dict | list):
            waiting.extend([*value, *value.values()] if isinstance(value, dict) else value)
        if count > MOST_VALUES or len(waiting) > MOST_VALUES:
            raise yaml.YAMLError(f"with its aliases (*name) filled in it has more than {MOST_VALUES:,} values")
    return raw


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())
