"""From a config file and `--set` to a validated config, and from the config to the store."""

from __future__ import annotations

import copy
import importlib.resources
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from data.errors import FlipkdError
from data.locate import user_path
from data.texts import stable_hash
from pipeline.config.config import Config, config_type
from pipeline.config.explain import explain
from pipeline.config.location import anchor, store_of
from pipeline.config.nightly import DEFAULT_NAME
from pipeline.config.overrides import put
from pipeline.config.read import parse_yaml, read_config

DEMO = "demo"
_MOST_PROBLEMS = 20
Model = TypeVar("Model", bound=BaseModel)


def load_config(path: str | Path, changes: Mapping[str, Any] = MappingProxyType({})) -> Config:
    """Read and validate a config.

    Relative paths of input files, of local models and of the store are taken from the config file's folder.

    Args:
        path: a YAML or TOML file, or `demo` for the config that ships with flipkd.
        changes: values that are put over the file's, by dotted key (`filter.tau_pos`, `prepare.inputs.0.path`).

    Raises:
        FlipkdError: the file cannot be read, or holds what the config does not allow; a line per problem.
    """
    if str(path) == DEMO:
        file = importlib.resources.files("pipeline.config") / "demo.yaml"
        raw, folder = parse_yaml(file.read_text(encoding="utf-8"), DEMO), Path.cwd()
    else:
        place = user_path(str(path))
        raw, folder = read_config(place), place.resolve().parent
    for key, value in changes.items():
        put(raw, key, copy.deepcopy(value))  # a later key may change it
    return _with_name(anchor(validated(config_type(), raw, str(path)), folder), path)


def _with_name(config: Config, path: str | Path) -> Config:
    """The config with the name that its student has in the store: by default that of its file.

    A store that has a student called `default`, as all were before names came from files, keeps that name.
    """
    if config.promote.name is not None:
        return config
    stem = Path(path).stem.lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_")[:64] or f"config-{stable_hash(stem)[:8]}"
    links = store_of(config).current
    if os.path.lexists(links / DEFAULT_NAME) and not os.path.lexists(links / name):
        name = DEFAULT_NAME
    return config.model_copy(update={"promote": config.promote.model_copy(update={"name": name})})


def validated(model: type[Model], raw: Any, name: str) -> Model:
    """The values of a config as a model.

    Args:
        name: of the file, for messages.

    Raises:
        FlipkdError: the model does not allow them; a line per problem.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = list(explain(error, raw, model))
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    if len(lines) > _MOST_PROBLEMS:
        lines = [*lines[:_MOST_PROBLEMS], f"and {len(lines) - _MOST_PROBLEMS} more"]
    raise FlipkdError("\n".join([f"{name}: {count} in the config", *(f"  {line}" for line in lines)]))


def trial_if_changed(config: Config, changed: Iterable[str]) -> Config:
    """The config as a trial if settings of this run alone were given, and `promote` is not among them.

    Args:
        changed: dotted keys, or `KEY=VALUE`.
    """
    keys = [key.strip() for key in changed]
    return trial(config) if keys and not any(key.startswith("promote") for key in keys) else config


def trial(config: Config) -> Config:
    """The config of a run whose settings were changed for it alone: its student does not promote itself."""
    if config.promote.mode == "manual":
        return config
    return config.model_copy(update={"promote": config.promote.model_copy(update={"mode": "manual"})})
