"""The artifact store: directories that are complete or absent, and prove it.

An artifact is `<store>/artifacts/<stage>/<key>/`: data files and a `manifest.json`. It is written beside its
place, flushed to disk, and renamed into it, so nobody ever sees half of one; afterwards it does not change.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from data.errors import FlipkdError
from data.locate import digest
from data.modes import obey_umask
from pipeline.store.disk import disk_problem, flush, make_folder, sweep, sync
from pipeline.store.lock import StoreLock
from pipeline.store.manifest import MANIFEST, FileEntry, Manifest, manifest_digest, read_manifest

# Prefect keeps its result record inside the artifact, so that deleting the artifact deletes the cache entry.
PREFECT_RECORD = "prefect-result.json"
KEY_LENGTH = 20


@dataclass(frozen=True)
class Store:
    """A folder of artifacts. All paths that flipkd writes lie below `root`."""

    root: Path

    def path(self, stage: str, key: str) -> Path:
        """Where the artifact lies, whether or not it is there."""
        return self.root / "artifacts" / _plain(stage) / _plain(key)

    def work(self, stage: str, key: str) -> Path:
        """Scratch space of a stage that survives a crash: checkpoints, shards."""
        return self.root / "work" / _plain(stage) / _plain(key)

    @property
    def models(self) -> Path:
        """Models converted once and kept."""
        return self.root / "models"

    @property
    def embeddings(self) -> Path:
        """Teachers' vectors of texts (`stages.score.embedding_cache`)."""
        return self.root / "embeddings"

    @property
    def activations(self) -> Path:
        """What the untouched base computes below the adapters (`stages.distill.activations`)."""
        return self.root / "activations"

    @property
    def text_passes(self) -> Path:
        """Checkpoints after the passes over texts alone (`stages.distill.text_passes`)."""
        return self.root / "text_passes"

    @property
    def trials(self) -> Path:
        """What came of trying students before anything was computed (`stages.distill.trial`)."""
        return self.root / "trials"

    @property
    def caches(self) -> tuple[Path, ...]:
        """Folders of what only saves time; a run that uses `<cache>/<name>` touches it."""
        return self.embeddings, self.activations, self.text_passes, self.trials

    @property
    def shared(self) -> tuple[Path, ...]:
        """Folders of what runs make for each other, each thing under a lock file beside it."""
        return self.models, *self.caches

    @property
    def runs(self) -> Path:
        """Records of runs (`runner.runs`)."""
        return self.root / "runs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def current(self) -> Path:
        """Links to the students in use (`promotion.link`)."""
        return self.root / "current"

    @property
    def latest(self) -> Path:
        """Links to the latest artifacts of each config, by name and stage (`runner.latest`)."""
        return self.root / "latest"

    @property
    def promotions(self) -> Path:
        """Histories of which student was in use (`promotion.history`)."""
        return self.root / "promotions"

    def lock(self, stage: str, key: str) -> StoreLock:
        """The lock of one artifact: held while it is written or removed. It dies with its holder."""
        return self.named_lock(f"{stage}-{key}")

    def gate(self) -> StoreLock:
        """Held for a moment by who begins to need artifacts (a run, a promotion), and by who removes one."""
        return self.named_lock("gate")

    def named_lock(self, name: str) -> StoreLock:
        """A lock in the store's folder of locks."""
        make_folder(self.locks)
        return StoreLock(self.locks / f"{_plain(name)}.lock")

    def artifacts(self) -> list[tuple[str, str]]:
        """Stage and key of every artifact that can be seen, sorted; whether they are intact is not looked at."""
        found = (folder for folder in self.root.glob("artifacts/*/*") if folder.is_dir())
        return sorted((f.parent.name, f.name) for f in found if not f.name.startswith("."))

    def discard(self, stage: str, key: str) -> None:
        """Remove an artifact: out of sight in one step, then from the disk. Hold the lock.

        Raises:
            FlipkdError: the disk does not let it go.
        """
        final = self.path(stage, key)
        hidden = final.with_name(f".{key}.discarded")
        sweep(hidden)
        try:
            final.rename(hidden)
        except FileNotFoundError:
            return
        except OSError as error:
            raise FlipkdError(f"cannot remove {final}: {disk_problem(error, final) or error}") from None
        sweep(hidden)

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
        if manifest.digest is not None and manifest.digest != manifest_digest(json.loads(path.read_bytes())):
            raise FlipkdError(f"{path} differs from its digest")
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

        Raises:
            FlipkdError: the disk is full or not writable, or the system stopped the block in another way.
        """
        final = self.path(stage, key)
        temporary = final.with_name(f".{key}.writing")
        discarded = final.with_name(f".{key}.discarded")
        make_folder(final.parent)
        for stale in (temporary, discarded):
            sweep(stale)  # what stayed would become a part of the artifact
        make_folder(temporary)
        try:
            yield temporary
            obey_umask(temporary)
            flush(temporary)
            if final.exists():
                final.rename(discarded)
            temporary.replace(final)
            sync(final.parent)
        except FlipkdError:
            raise
        except Exception as error:
            problem = disk_problem(error, self.root)
            if problem is None and not isinstance(error, OSError):
                raise
            raise FlipkdError(f"cannot write the artifact {stage}/{key}: {problem or error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(discarded, ignore_errors=True)


def _plain(name: str) -> str:
    """A stage, key or lock as a part of a path; what would lead elsewhere is refused."""
    if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
        raise FlipkdError(f"{name!r} cannot be the name of an artifact: it would lead out of the store")
    return name


def file_problem(file: Path, name: str, entry: FileEntry) -> str | None:
    """What is wrong with a file of an artifact, by size and digest; None if it is as it was written."""
    if not file.is_file():
        return f"{name} is missing"
    if file.stat().st_size != entry.bytes:
        return f"{name} has {file.stat().st_size} bytes instead of {entry.bytes}"
    try:
        return None if digest(file) == entry.sha256 else f"{name} differs from its digest"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
