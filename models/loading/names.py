"""How a model's name becomes a folder on disk and an identity that says which model it is.

A name is one of
- `package:import_name/path`: a file or folder inside an installed package,
- a local folder or a GGUF file,
- `org/name` or `org/name@revision`: a model of the Hugging Face hub. A copy in the local cache is taken without
  asking the hub; only a model that is not there is downloaded.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from data.errors import FlipkdError
from data.locate import PACKAGE, digest, package_path, user_path
from models.loading.weights import check_weights

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")
# What a model folder may be loaded from. Pickled weights (.bin, .pt) are left out on purpose.
DOWNLOADED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py", "*.md", "*.gguf"]


@dataclass(frozen=True)
class FoundModel:
    """A model on disk.

    Attributes:
        name: as the user wrote it.
        path: a folder, or a GGUF file.
        known_identity: of a model of the hub; the content tells that of a local one.
    """

    name: str
    path: Path
    known_identity: str = ""

    @functools.cached_property
    def identity(self) -> str:
        """`sha256:...` of the content, or `hub:org/name@commit`; computed when it is asked for."""
        return self.known_identity or f"sha256:{_digest_while(self.path, _stamps(self.path))}"

    @property
    def is_gguf(self) -> bool:
        return self.path.suffix == ".gguf"


@functools.lru_cache(maxsize=64)
def _digest_while(path: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """The digest of a file or folder, read once a process as long as its files stay as they are."""
    return digest(path)


def _stamps(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file is written: name, size and time of each."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return tuple((str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files)


def find_model(name: str, *, download: bool = True) -> FoundModel:
    """Find the model that a name stands for, downloading it only if it is nowhere on this machine.

    Raises:
        FlipkdError: nothing is there, its weights are pickled, or the hub cannot be reached.
    """
    if name.startswith(PACKAGE):
        return _local(name, package_path(name))
    path = user_path(name)
    if path.exists():
        return _local(name, path)
    if name.startswith((".", "/", "~")) or name.endswith(".gguf") or not HUB_ID.fullmatch(name):
        raise FlipkdError(f"{name}: no such file or folder, and not a hub id such as org/name@revision")
    return _from_hub(name, download)


def _local(name: str, path: Path) -> FoundModel:
    if path.is_dir():
        check_weights(name, path)
    elif path.suffix != ".gguf":
        raise FlipkdError(f"{name}: a file that is not .gguf; name the model's folder instead")
    return FoundModel(name, path)


def _from_hub(name: str, download: bool) -> FoundModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import validate_repo_id

    repo, _, revision = name.partition("@")
    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise FlipkdError(f"{name}: no such file or folder, and not a hub id such as org/name@revision") from None
    try:
        folder = Path(snapshot_download(repo, revision=revision or None, local_files_only=True))
        check_weights(name, folder)
    except (LocalEntryNotFoundError, FlipkdError) as error:  # the cache may hold a part of it, from another tool
        if not download:
            reason = str(error) if isinstance(error, FlipkdError) else f"{name}: not in the local hub cache"
            raise FlipkdError(reason) from None
        try:
            folder = Path(snapshot_download(repo, revision=revision or None, allow_patterns=DOWNLOADED))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise FlipkdError(
                f"{name}: neither a local folder nor in the hub's cache, and the hub did not give it: {reason}"
            ) from None
        check_weights(name, folder)
    return FoundModel(name, folder, f"hub:{repo}@{folder.name}")
