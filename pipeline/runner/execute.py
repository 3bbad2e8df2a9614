"""Run one stage and publish its artifact: the only place where a manifest is written."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data.locate import digest
from pipeline.config.config import Config
from pipeline.contract.stage import Context
from pipeline.runner.plan import ALL_STAGES, Step
from pipeline.stages.registry import sentence
from pipeline.store.manifest import MANIFEST, FileEntry, Manifest, sealed
from pipeline.store.store import Store, make_folder

log = logging.getLogger("flipkd.run")
RECORDED_PACKAGES = (
    "flipkd", "torch", "transformers", "sentence-transformers", "peft", "accelerate",
    "prefect", "polars", "pyarrow", "numpy", "scikit-learn", "bitsandbytes",
)  # fmt: skip


def execute(step: Step, config: Config, store: Store, *, refresh: bool = False) -> dict[str, str]:
    """Make sure that a step's artifact is there and intact, running its stage if it is not.

    Two processes that need one artifact compute it once: the second waits for the first and takes its result.

    Args:
        refresh: run the stage even if its artifact is intact.

    Returns:
        A reference `{"stage", "key"}` to the artifact.
    """
    with store.lock(step.stage, step.key):
        if refresh or not is_intact(store, step):
            _run(step, config, store)
        _sweep(step, store)
    return {"stage": step.stage, "key": step.key}


def is_intact(store: Store, step: Step) -> bool:
    """Whether the artifact is there and every file has its digest; the log says what is wrong if not."""
    problems = store.problems(step.stage, step.key)
    if problems:
        log.warning(
            "%s: the artifact %s is damaged (%s): running again", step.stage, step.key, "; ".join(problems)
        )
    return problems == []


def tidy(step: Step, store: Store) -> None:
    """Remove what a killed run has left beside an intact artifact, unless somebody is at work on it."""
    if not any(folder.exists() for folder in _leftovers(step, store)):
        return
    with store.lock(step.stage, step.key).held() as held:
        if held:
            _sweep(step, store)


def _sweep(step: Step, store: Store) -> None:
    """Remove scratch space and temporary folders. Hold the lock, and have the artifact in its place."""
    for folder in _leftovers(step, store):
        shutil.rmtree(folder, ignore_errors=True)


def _leftovers(step: Step, store: Store) -> list[Path]:
    hidden = (store.path(step.stage, f".{step.key}.{state}") for state in ("writing", "discarded"))
    return [store.work(step.stage, step.key), *hidden]


def _run(step: Step, config: Config, store: Store) -> None:
    stage = ALL_STAGES[step.stage]
    work = store.work(step.stage, step.key)
    make_folder(work)
    make_folder(store.models)
    context = Context(step.seed, store.path(step.stage, step.key), work, store, stage.named(config))
    inputs = {name: store.path(name, key) for name, key in step.artifacts.items()}
    started, clock = datetime.now(UTC), time.monotonic()
    log.info("%s: %s", step.stage, stage.title)
    with store.writing(step.stage, step.key) as folder:
        summary = stage.function(stage.settings(config), inputs, folder, context)
        manifest = Manifest(
            stage=stage.name,
            stage_version=stage.version,
            key=step.key,
            config=step.config,
            inputs=step.inputs,
            files=describe_files(folder),
            summary=summary,
            packages=installed_packages(),
            machine=machine(),
            seed=step.seed,
            started=started.isoformat(timespec="seconds"),
            duration_seconds=round(time.monotonic() - clock, 3),
        )
        (folder / MANIFEST).write_text(sealed(manifest), encoding="utf-8")
    log.info("%s: done in %.1f s, %s: %s", step.stage, manifest.duration_seconds, step.key, sentence(manifest))


def describe_files(folder: Path) -> dict[str, FileEntry]:
    """Size and digest of every file below a folder, and the rows of the Parquet files."""
    entries = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
        name = path.relative_to(folder).as_posix()
        entries[name] = FileEntry(bytes=path.stat().st_size, sha256=digest(path), rows=rows)
    return entries


def installed_packages() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    found = {}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the numbers may depend on besides versions; no host name, no environment value."""
    found = {"python": platform.python_version(), "processor": platform.machine(), "cores": os.cpu_count()}
    torch = sys.modules.get("torch")  # a stage that computes has imported it
    return found | {"gpu": torch.cuda.get_device_name()} if torch and torch.cuda.is_available() else found
