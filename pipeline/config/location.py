"""Where the paths of a config lead: its files and models, and its store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from data.locate import PACKAGE
from pipeline.config.config import Config
from pipeline.contract.section import BY_IDENTITY, Section, marks_of
from pipeline.store.store import Store


def store_of(config: Config) -> Store:
    """The store of a config: its `store`, else $FLIPKD_HOME, else `.flipkd` in the working directory."""
    return Store(Path(config.store).absolute()) if config.store else default_store()


def default_store() -> Store:
    """The store where no config names one: $FLIPKD_HOME, else `.flipkd` in the working directory."""
    return Store(Path(os.environ.get("FLIPKD_HOME") or ".flipkd").expanduser().absolute())


def anchor(config: Config, folder: Path) -> Config:
    """The config with relative paths made absolute: its store, and what fields marked `by_identity` name."""
    anchored = _anchored(config, folder)
    if config.store is None:
        return anchored
    return anchored.model_copy(update={"store": str(folder / Path(config.store).expanduser())})


def _anchored(section: Any, folder: Path) -> Any:
    """A section, or a list of them, with its names anchored; anything else as it is."""
    if isinstance(section, list):
        return [_anchored(item, folder) for item in section]
    if not isinstance(section, Section):
        return section
    changes: dict[str, Any] = {}
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if value is None:
            continue
        match marks_of(info).get(BY_IDENTITY):
            case "file":
                changes[name] = value if value.startswith((PACKAGE, "~")) else str(folder / value)
            case "model":
                changes[name] = str(folder / value) if _is_local(value, folder) else value
            case None if (inner := _anchored(value, folder)) is not value and inner != value:
                changes[name] = inner
    return section.model_copy(update=changes) if changes else section


def _is_local(model: str, folder: Path) -> bool:
    """Whether a model's name is a path relative to the config's folder."""
    return model.startswith(("./", "../")) or (not model.startswith(PACKAGE) and _is_there(folder / model))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path, or a NUL character in it: a name of another kind
        return False
