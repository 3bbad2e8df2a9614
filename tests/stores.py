"""Small artifacts made by hand, for tests of what looks after a store."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.runner.execute import describe_files
from pipeline.runner.runs import PlannedStep, RunRecord
from pipeline.stages.registry import ALL_STAGES, STAGES
from pipeline.store.manifest import MANIFEST, Manifest, sealed
from pipeline.store.store import Store

NOW = 1_800_000_000.0
DAY = 86_400.0
MODEL = "sha256:" + "e" * 64


def key_of(name: str) -> str:
    """A key as artifacts have it, from any name."""
    return hashlib.sha256(name.encode()).hexdigest()[:20]


def iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


def write_manifest(
    folder: Path, stage: str, config: Mapping[str, Any], summary: Mapping[str, Any], **changes: Any
) -> None:
    """Make a folder an artifact that other stages can read."""
    nothing: dict[str, Any] = {"inputs": {}, "files": {}, "packages": {}, "machine": {}}
    about = {"stage": stage, "stage_version": 2, "key": "k", "seed": 5, "started": "", "duration_seconds": 0.0}
    manifest = Manifest.model_validate(nothing | about | {"config": config, "summary": summary} | changes)
    (folder / "manifest.json").write_text(sealed(manifest), "utf-8")


def put(
    store: Store,
    stage: str,
    name: str,
    inputs: Mapping[str, str] | None = None,
    *,
    age_days: float = 0.0,
    now: float = NOW,
    size: int = 100,
) -> tuple[str, str]:
    """Make an artifact; `inputs` maps stages to names, what is left out has the artifact's own name.

    Returns:
        Stage and key.
    """
    inputs = inputs or {}
    keys = {read: key_of(read + inputs.get(read, name)) for read in ALL_STAGES[stage].reads}
    outside = {"prepare": {"file 0": f"{name}.csv sha256:{'f' * 64}"}, "distill": {"model": MODEL}}.get(stage, {})
    key, made = key_of(stage + name), now - age_days * DAY
    with store.lock(stage, key), store.writing(stage, key) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "data.bin").write_bytes(os.urandom(size))
        manifest = Manifest(
            stage=stage, stage_version=1, key=key, config={}, inputs=keys | outside, files=describe_files(folder),
            summary={}, packages={"flipkd": "0.1.0"}, machine={}, seed=1, started=iso(made), duration_seconds=0.0,
        )  # fmt: skip
        (folder / MANIFEST).write_text(sealed(manifest), "utf-8")
    set_time(store.path(stage, key), made)
    return stage, key


def put_chain(
    store: Store, name: str, *, age_days: float = 0.0, now: float = NOW, size: int = 100
) -> dict[str, tuple[str, str]]:
    """One artifact for each stage, each made from the others.

    Returns:
        Stage to (stage, key).
    """
    return {stage: put(store, stage, name, age_days=age_days, now=now, size=size) for stage in STAGES}


def put_run(
    store: Store, name: str, artifacts: Mapping[str, tuple[str, str]], *, age_days: float, ended: bool = True
) -> Path:
    """A record of a run that planned these artifacts; without an end it crashed, as nobody holds its lock."""
    time = NOW - age_days * DAY
    steps = {stage: PlannedStep(key=key, inputs={}) for stage, (_, key) in artifacts.items()}
    record = RunRecord(
        id=name, started=iso(time), flipkd="0.1.0", pid=1, config={}, steps=steps,
        state="completed" if ended else None, ended=iso(time) if ended else None,
    )  # fmt: skip
    path = store.root / "runs" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record.model_dump(mode="json")), "utf-8")
    set_time(path, time)
    return path


def set_time(path: Path, time: float) -> None:
    """Set the modification time."""
    os.utime(path, (time, time))


def promote(store: Store, artifact: tuple[str, str], name: str = "default") -> None:
    """Point the link of the student in use to an export, without any comparison."""
    link = store.root / "current" / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..", "artifacts", *artifact))
