"""From a config file and `--set` to a validated config, and from the config to the store."""

from __future__ import annotations

import difflib
import importlib.resources
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from data.errors import FlipkdError
from data.locate import PACKAGE, shortened, user_path
from pipeline.config.config import Config
from pipeline.config.read import parse_value, parse_yaml, read_config
from pipeline.config.schema_words import describe, locate, shown
from pipeline.store.store import Store

DEMO = "demo"
_MOST_PROBLEMS = 20


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and validate a config.

    Relative paths of input files, and of local models, are taken from the config file's folder.

    Args:
        path: a YAML or TOML file, or `demo` for the config that ships with flipkd.
        overrides: `key=value`, the key dotted (`filter.tau_pos`, `prepare.inputs.0.path`), the value YAML.

    Raises:
        FlipkdError: the file cannot be read, or holds what the config does not allow; a line per problem.
    """
    if str(path) == DEMO:
        file = importlib.resources.files("pipeline.config") / "demo.yaml"
        raw, folder = parse_yaml(file.read_text(encoding="utf-8"), DEMO), Path.cwd()
    else:
        place = user_path(str(path))
        raw, folder = read_config(place), place.resolve().parent
    for override in overrides:
        apply_override(raw, override)
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        lines = list(explain(error, raw))
        count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        if len(lines) > _MOST_PROBLEMS:
            lines = [*lines[:_MOST_PROBLEMS], f"and {len(lines) - _MOST_PROBLEMS} more"]
        raise FlipkdError(
            "\n".join([f"{path}: {count} in the config", *(f"  {line}" for line in lines)])
        ) from None
    return anchor(config, folder)


def trial(config: Config) -> Config:
    """The config of a run whose settings were changed for it alone: its student does not promote itself."""
    if config.promote.mode == "manual":
        return config
    return config.model_copy(update={"promote": config.promote.model_copy(update={"mode": "manual"})})


def store_of(config: Config) -> Store:
    """The store of a config: its `store`, else $FLIPKD_HOME, else `.flipkd` in the working directory."""
    return Store(Path(config.store).expanduser().absolute()) if config.store else default_store()


def default_store() -> Store:
    """The store where no config names one: $FLIPKD_HOME, else `.flipkd` in the working directory."""
    return Store(Path(os.environ.get("FLIPKD_HOME") or ".flipkd").expanduser().absolute())


# ---------------------------------------------------------------------------------------------- overrides


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Put one `key=value` into a config that is not validated yet.

    Raises:
        FlipkdError: no `=`, a value that is not YAML, or a list index out of range.
    """
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise FlipkdError(f"--set {override}: write key=value, such as --set filter.tau_pos=0.3")
    try:
        value = parse_value(text)
    except yaml.YAMLError:
        raise FlipkdError(f"--set {override}: the value is not valid YAML; put it in quotes") from None
    here: Any = raw
    for depth, key in enumerate(keys):
        slot: Any = _list_slot(here, key, override) if isinstance(here, list) else key
        if depth == len(keys) - 1:
            here[slot] = value
            return
        inner = here[slot] if isinstance(here, list) else here.get(slot)
        if not isinstance(inner, dict | list):
            inner = here[slot] = {}
        here = inner


def _list_slot(here: list[Any], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) > len(here):
        raise FlipkdError(f"--set {override}: {key!r} must be an index from 0 to {len(here)}")
    if int(key) == len(here):
        here.append(None)
    return int(key)


# ---------------------------------------------------------------------------------------- explaining errors


def explain(error: ValidationError, raw: Any) -> Iterator[str]:
    """A line for each key that is wrong: the dotted key, what was given, what is allowed."""
    done: set[tuple[str | int, ...]] = set()
    for problem in error.errors(include_url=False):
        place = locate(problem["loc"])
        keys = _as_written(place.keys, raw)
        if keys in done:  # the other branch of a union
            continue
        done.add(keys)
        if problem["type"] == "extra_forbidden":
            yield _unknown_key(place.dotted, str(place.keys[-1]), place.siblings)
            continue
        key = ".".join(map(str, keys)) or "config"
        allowed = describe(place.schema) if place.schema is not None else "see the documentation"
        match problem["type"]:
            case "missing":
                yield f"{key}: missing; it must be {allowed}"
            case "union_tag_not_found":
                yield f"{key}.kind: missing; it must be pairs or utterances"
            case "union_tag_invalid":
                given = shown(problem["input"].get("kind"))
                yield f"{key}.kind: {given} is not allowed; it must be pairs or utterances"
            case "value_error":
                yield f"{key}: {problem['msg'].removeprefix('Value error, ')}; given {shown(problem['input'])}"
            case _:
                yield f"{key}: {shown(problem['input'])} is not allowed; it must be {allowed}{_hint(problem)}"


def _hint(problem: Any) -> str:
    quoting = isinstance(problem["input"], bool) and problem["type"] == "string_type"
    return " (in YAML, put words such as yes and no in quotes)" if quoting else ""


def _as_written(keys: tuple[str | int, ...], raw: Any) -> tuple[str | int, ...]:
    """Cut the way where the user wrote a plain value: `tau_pos: 2` is at tau_pos, not at tau_pos.value."""
    here = raw
    for depth, key in enumerate(keys):
        if isinstance(here, dict):
            here = here.get(key)
        elif isinstance(here, list) and isinstance(key, int):
            here = here[key] if key < len(here) else None
        elif here is not None:
            return keys[:depth]
    return keys


def _unknown_key(dotted: str, key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}? " if near else ""
    return f"{shortened(dotted)}: unknown key; {advice}Known here: {', '.join(known)}"


# -------------------------------------------------------------------------------------------------- paths


def anchor(config: Config, folder: Path) -> Config:
    """The config with relative paths made absolute: input files, and models that are local folders or files."""

    def file(name: str) -> str:
        return name if name.startswith((PACKAGE, "~")) else str(folder / name)

    def model(name: str) -> str:
        local = name.startswith(("./", "../")) or (not name.startswith(PACKAGE) and _is_there(folder / name))
        return str(folder / name) if local else name

    prepare, teach, scorer = config.prepare, config.teach, config.score.cross_encoder
    others = [other.model_copy(update={"model": model(other.model)}) for other in teach.others]
    if scorer is not None:
        scorer = scorer.model_copy(update={"model": model(scorer.model)})
    inputs = [entry.model_copy(update={"path": file(entry.path)}) for entry in prepare.inputs]
    pairs = prepare.pairs.model_copy(update={"encoder": model(prepare.pairs.encoder)})
    return config.model_copy(
        update={
            "prepare": prepare.model_copy(update={"inputs": inputs, "pairs": pairs}),
            "teach": teach.model_copy(update={"model": model(teach.model), "others": others}),
            "score": config.score.model_copy(update={"cross_encoder": scorer}),
            "distill": config.distill.model_copy(update={"model": model(config.distill.model)}),
        }
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path, or a NUL character in it: a name of another kind
        return False
