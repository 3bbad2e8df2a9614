"""From a config file and `--set` to a validated config, and from the config to the store."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from data.errors import FlipkdError
from data.locate import user_path
from pipeline.config.config import Config, config_type
from pipeline.config.explain import explain
from pipeline.config.location import anchor
from pipeline.config.overrides import apply_override
from pipeline.config.read import parse_yaml, read_config

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
        config = config_type().model_validate(raw)
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


# ---------------------------------------------------------------------------------------------- overrides


# ---------------------------------------------------------------------------------------- explaining errors


# -------------------------------------------------------------------------------------------------- paths
