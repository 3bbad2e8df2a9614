"""Under which licence a model came, as far as it says so itself."""

from __future__ import annotations

from importlib.metadata import metadata, packages_distributions
from pathlib import Path

import yaml
from gguf import GGUFReader
from huggingface_hub import ModelCard

from data.locate import PACKAGE
from models.loading.names import FoundModel


def licence_of(model: FoundModel) -> str | None:
    """The licence that a model's card names, or its GGUF file, or the package that it came in; None if none does.

    The hub's words, such as `apache-2.0`; a package's are followed by the package's name, which may have been
    given another licence than the model in it.
    """
    own = _of_gguf(model.path) if model.is_gguf else _of_card(model.path / "README.md")
    return own or (_of_package(model.name) if model.name.startswith(PACKAGE) else None)


def _of_card(path: Path) -> str | None:
    try:
        data = ModelCard(path.read_text("utf-8"), ignore_metadata_errors=True).data
    except (OSError, ValueError, TypeError, yaml.YAMLError):  # none, or one that cannot be read
        return None
    names = [data.get("license"), data.get("license_name")]
    return next((str(name) for name in names if name and name != "other"), None)


def _of_gguf(path: Path) -> str | None:
    field = GGUFReader(path).get_field("general.license")
    return str(field.contents()) if field else None


def _of_package(name: str) -> str | None:
    package = name.removeprefix(PACKAGE).partition("/")[0]
    for distribution in packages_distributions().get(package, ()):
        told = metadata(distribution).json
        if licence := told.get("license_expression") or told.get("license"):
            return f"{str(licence).splitlines()[0]} (of the package {distribution})"
    return None
