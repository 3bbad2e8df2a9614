"""The manifest of an artifact: what it is, what it came from, and what is in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

MANIFEST = "manifest.json"


class FileEntry(BaseModel):
    """One file of an artifact, as it was when the artifact was written."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    bytes: int
    sha256: str
    rows: int | None = None


class Manifest(BaseModel):
    """What an artifact is, what it came from, and what is in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stage: str
    stage_version: int
    key: str
    config: dict[str, Any]
    inputs: dict[str, str]
    files: dict[str, FileEntry]
    summary: dict[str, Any]
    packages: dict[str, str]
    machine: dict[str, Any]
    seed: int
    started: str
    duration_seconds: float
    digest: str | None = None  # of all the rest; see `sealed`

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            path = PurePosixPath(name)
            if not name or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"it names a file outside of its artifact: {name}")
        return files


def sealed(manifest: Manifest) -> str:
    """The manifest as it is written: JSON with a digest of itself, so that one byte of damage shows here too."""
    plain = json.loads(manifest.model_dump_json(exclude={"digest"}))
    return json.dumps(plain | {"digest": manifest_digest(plain)}, indent=2, ensure_ascii=False) + "\n"


def manifest_digest(plain: dict[str, Any]) -> str:
    """The digest of a manifest as plain data, of all but its own field `digest`."""
    text = json.dumps({name: plain[name] for name in plain if name != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest in an artifact's folder, as a stage reads its inputs'; `Store.manifest` checks it too."""
    return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
