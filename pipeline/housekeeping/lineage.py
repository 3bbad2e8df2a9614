"""`flipkd lineage`: what an artifact came from, back to raw files and models, and what was made from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from data.errors import FlipkdError
from pipeline.housekeeping.retention import Artifact, Scan, is_artifact, scan
from pipeline.runner.plan import ALL_STAGES
from pipeline.store.manifest import Manifest
from pipeline.store.store import KEY_LENGTH, Store

CANDIDATES = 8
_PREFIX = re.compile(rf"[0-9a-f]{{1,{KEY_LENGTH}}}")


def find_artifact(store: Store, name: str) -> tuple[Store, Artifact]:
    """The artifact that a person names, and its store.

    Args:
        store: where keys are looked up.
        name: a key or the beginning of one, `stage/key`, or the path of an artifact or of something in it; a path
            may lie in another store, and may be a link such as `current/faq`.

    Raises:
        FlipkdError: there is none, or more than one; candidates are named.
    """
    path = Path(name).expanduser()
    stage, _, start = name.rpartition("/")
    if not (_PREFIX.fullmatch(start) and (stage == "" or stage in ALL_STAGES)):
        if path.exists():
            return _of_path(path.resolve())
        raise FlipkdError(
            f"{name}: neither a path nor a key; give KEY, the beginning of one, STAGE/KEY or an artifact's folder"
        )
    everything = [artifact for artifact in store.artifacts() if is_artifact(*artifact)]
    fits = [one for one in everything if one[0] == (stage or one[0]) and one[1].startswith(start)]
    if len(fits) == 1:
        return store, fits[0]
    if not fits and path.exists():
        return _of_path(path.resolve())
    if not fits:
        near = [one for one in everything if one[0] == stage] or everything
        known = f"there are {_listed(near)}" if near else "the store holds no artifacts"
        raise FlipkdError(f"no artifact {name} in {store.root}; {known}")
    raise FlipkdError(f"{name} fits {len(fits)} artifacts: {_listed(fits)}. Give more of the key, or STAGE/KEY")


def _of_path(path: Path) -> tuple[Store, Artifact]:
    for folder in (path, *path.parents):
        if folder.parent.parent.name == "artifacts" and is_artifact(folder.parent.name, folder.name):
            return Store(folder.parents[2]), (folder.parent.name, folder.name)
    raise FlipkdError(f"{path} does not lie in an artifact, <store>/artifacts/<stage>/<key>")


def _listed(artifacts: list[Artifact]) -> str:
    more = f" and {len(artifacts) - CANDIDATES} more" if len(artifacts) > CANDIDATES else ""
    return ", ".join(map("/".join, artifacts[:CANDIDATES])) + more


def lineage(store: Store, artifact: Artifact) -> dict[str, Any]:
    """What an artifact came from and what was made from it, as plain data.

    Returns:
        `{"artifact": "stage/key", "artifacts": {"stage/key": {...}}, "used_by": ["stage/key"], "promoted_as":
        [name]}`. Each of `artifacts` has `stage`, `key`, `state` (`there`, `missing`, `unreadable`) and, if it is
        there, `started`, `duration_seconds`, `seed`, `rows` by file, `packages`, `inputs`: name to `stage/key` or,
        for raw files and models, to name and digest.
    """
    found = scan(store)
    artifacts: dict[str, Any] = {}

    def tell(stage: str, key: str) -> None:
        if f"{stage}/{key}" in artifacts:
            return
        manifest = found.manifests.get((stage, key))
        artifacts[f"{stage}/{key}"] = _entry(stage, key, (stage, key) in found.artifacts, manifest)
        for source in found.inputs((stage, key)):
            tell(*source)

    tell(*artifact)
    return {
        "artifact": "/".join(artifact),
        "artifacts": artifacts,
        "used_by": [f"{stage}/{key}" for stage, key in _descendants(found, artifact)],
        "promoted_as": _promoted_as(store, artifact),
    }


def _entry(stage: str, key: str, there: bool, manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {"stage": stage, "key": key, "state": "unreadable" if there else "missing"}
    reads = ALL_STAGES[stage].reads
    model = manifest.summary.get("model")
    return {
        "stage": stage,
        "key": key,
        "state": "there",
        "started": manifest.started,
        "duration_seconds": manifest.duration_seconds,
        "seed": manifest.seed,
        "rows": {name: entry.rows for name, entry in manifest.files.items() if entry.rows is not None},
        "packages": manifest.packages,
        "inputs": {name: f"{name}/{found}" if name in reads else found for name, found in manifest.inputs.items()},
        **({"model": model} if isinstance(model, str) else {}),
    }


def _descendants(found: Scan, artifact: Artifact) -> list[Artifact]:
    """Everything that was made from an artifact, directly or not, in the stages' order."""
    dependents = found.dependents()
    seen: set[Artifact] = set()
    todo = [artifact]
    while todo:
        new = dependents.get(todo.pop(), set()) - seen
        seen |= new
        todo += new
    return sorted(seen, key=lambda one: (list(ALL_STAGES).index(one[0]), one[1]))


def _promoted_as(store: Store, artifact: Artifact) -> list[str]:
    from pipeline.promotion.link import promoted_keys

    stage, key = artifact
    return [name for name, keys in promoted_keys(store).items() if stage == "export" and keys[:1] == [key]]
