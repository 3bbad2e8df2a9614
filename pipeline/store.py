"""The artifact store: directories that are complete or absent, and prove it.

An artifact is `<store>/artifacts/<stage>/<key>/`: data files and a `manifest.json`. It is written beside its
place, flushed to disk, and renamed into it, so nobody ever sees half of one; afterwards it does not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from data.errors import FlipkdError
from data.locate import digest

MANIFEST = "manifest.json"
# Prefect keeps its result record inside the artifact, so that deleting the artifact deletes the cache entry.
PREFECT_RECORD = "prefect-result.json"
KEY_LENGTH = 20


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


def read_manifest(folder: Path) -> Manifest:
    """The manifest in an artifact's folder, as a stage reads its inputs'; `Store.manifest` checks it too."""
    return Manifest.model_validate_json((folder / MANIFEST).read_bytes())


@dataclass(frozen=True)
class Store:
    """A folder of artifacts. All paths that flipkd writes lie below `root`."""

    root: Path

    def path(self, stage: str, key: str) -> Path:
        """Where the artifact lies, whether or not it is there."""
        return self.root / "artifacts" / stage / key

    def work(self, stage: str, key: str) -> Path:
        """Scratch space of a stage that survives a crash: checkpoints, shards."""
        return self.root / "work" / stage / key

    @property
    def models(self) -> Path:
        """Models converted once and kept."""
        return self.root / "models"

    def lock(self, stage: str, key: str) -> FileLock:
        """An operating-system lock: it dies with its holder."""
        folder = self.root / "locks"
        make_folder(folder)
        return FileLock(folder / f"{stage}-{key}.lock")

    def manifest(self, stage: str, key: str) -> Manifest:
        """The manifest of an artifact.

        Raises:
            FlipkdError: it is missing or is not a manifest of this artifact.
        """
        path = self.path(stage, key) / MANIFEST
        try:
            manifest = read_manifest(path.parent)
        except FileNotFoundError:
            raise FlipkdError(f"no artifact {stage}/{key} in {self.root}") from None
        except (ValidationError, OSError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise FlipkdError(f"{path} cannot be read as a manifest: {reason}") from None
        if (manifest.stage, manifest.key) != (stage, key):
            raise FlipkdError(f"{path} belongs to {manifest.stage}/{manifest.key}, not to {stage}/{key}")
        return manifest

    def problems(self, stage: str, key: str) -> list[str] | None:
        """What is wrong with an artifact, by size and digest of every file.

        Returns:
            None if there is no artifact, an empty list if it is intact, else a line for each problem.
        """
        folder = self.path(stage, key)
        if not folder.exists():
            return None
        try:
            manifest = self.manifest(stage, key)
        except FlipkdError as error:
            return [str(error)]
        found = (file_problem(folder / name, name, entry) for name, entry in manifest.files.items())
        return [problem for problem in found if problem]

    @contextmanager
    def writing(self, stage: str, key: str) -> Iterator[Path]:
        """A temporary folder that becomes the artifact when the block ends well. Hold the lock.

        The block writes the manifest last. A folder left by a killed run is swept first.
        """
        final = self.path(stage, key)
        temporary = final.with_name(f".{key}.writing")
        discarded = final.with_name(f".{key}.discarded")
        for stale in (temporary, discarded):
            shutil.rmtree(stale, ignore_errors=True)
        make_folder(temporary)
        try:
            yield temporary
            flush(temporary)
            if final.exists():
                final.rename(discarded)
            temporary.replace(final)
            sync(final.parent)
        except OSError as error:
            raise FlipkdError(f"cannot write the artifact {stage}/{key} to {self.root}: {error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(discarded, ignore_errors=True)


def file_problem(file: Path, name: str, entry: FileEntry) -> str | None:
    """What is wrong with a file of an artifact, by size and digest; None if it is as it was written."""
    if not file.is_file():
        return f"{name} is missing"
    if file.stat().st_size != entry.bytes:
        return f"{name} has {file.stat().st_size} bytes instead of {entry.bytes}"
    return None if digest(file) == entry.sha256 else f"{name} differs from its digest"


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, or say plainly why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlipkdError(f"cannot create the folder {folder}: {error.strerror}. Choose another store.") from None


def sync(path: Path) -> None:
    """fsync of a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush(folder: Path) -> None:
    """fsync of everything below a folder, files before the folders that name them."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def artifact_key(stage: str, version: int, config: dict[str, Any], seed: int, inputs: dict[str, str]) -> str:
    """The key of an artifact: a hash of all that decides what is in it."""
    parts = {"stage": stage, "version": version, "config": config, "seed": seed, "inputs": inputs}
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
