"""Runs a case as a user would, and says how it ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from data.errors import FlipkdError
from models.loading.convert import converted
from models.loading.names import find_model
from models.student.student import load_base
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.runner.check import checked_plan
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan
from pipeline.stages.prepare.expand import files_of
from pipeline.stages.prepare.input_kinds import PairsFile
from pipeline.stages.prepare.inputs import source_name
from pipeline.store.manifest import Manifest
from pipeline.store.store import Store
from tests.bad_input.corpus import Case

LONGEST_MESSAGE = 6000


class Hangs(BaseException):
    """No Exception, so that nothing takes it for a fault of the input."""


MOST_SECONDS = 10.0


@dataclass(frozen=True)
class Ended:
    """How a case ended.

    Attributes:
        outcome: `accepted`, `accepted with rejects` or `error`.
        message: the error's message.
        rejected: counts by reason, if it was accepted.
    """

    outcome: str
    message: str
    rejected: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class Models:
    """Whole models, which the cases name or damage."""

    teacher: Path
    student: Path


def run(case: Case, folder: Path, models: Models) -> Ended:
    """Make the case's files, run it, and check what is true of every ending.

    Raises:
        AssertionError: the store holds half an artifact, rows are not accounted for, it took too long.
        Exception: whatever is no FlipkdError.
    """
    folder.mkdir(parents=True)
    store = Store(folder / "store")
    made = case.make(folder)
    started = time.monotonic()
    try:
        with _within(MOST_SECONDS):
            config = _config(made, store, models)
            if case.kind.startswith("models"):
                checked_plan(config, until="distill")
                load_base(converted(find_model(config.distill.model), store.models))
            checked_plan(config, until="prepare")
            step = plan(config, "prepare")[-1]
            execute(step, config, store)
    except FlipkdError as error:
        ended = Ended("error", str(error), {}, time.monotonic() - started)
        _check_error(ended, store)
        return ended
    seconds = time.monotonic() - started
    manifest = store.manifest("prepare", step.key)
    assert store.problems("prepare", step.key) == []
    _check_rows(config, manifest, store.path("prepare", step.key), case.rows)
    rejected = manifest.summary["rejected"]
    return Ended("accepted with rejects" if rejected else "accepted", "", rejected, seconds)


def verdict(case: Case, ended: Ended) -> str | None:
    """What is wrong with how a case ended; None if that is as it should be."""
    outcome = ended.outcome.split()[0]
    if case.ends not in ("either", outcome):
        return f"ended as {ended.outcome} ({ended.message or ended.rejected}), not as {case.ends}"
    missing = [part for part in case.says if part not in ended.message]
    if outcome == "error" and missing:
        return f"the message lacks {missing}: {ended.message}"
    if case.ends == "accepted" and ended.rejected != dict(case.rejected):
        return f"rejected {ended.rejected}, not {dict(case.rejected)}"
    if case.ends == "either" and outcome == "error" and not _names_a_file(ended.message):
        return f"the message names no file: {ended.message}"
    return None


def _names_a_file(message: str) -> bool:
    return any(f"rows.{ending}" in message for ending in ("csv", "tsv", "jsonl", "parquet"))


def _config(made: Any, store: Store, models: Models) -> Config:
    if isinstance(made, Path):
        return load_config(made).model_copy(update={"store": str(store.root)})
    made = dict(made)
    if "COPY" in made:
        import shutil

        name, target, damage = made.pop("COPY")
        shutil.copytree(models.teacher if name == "TEACHER" else models.student, target)
        damage(target)
    is_teacher = made.get("teach", {}).get("model") == "OTHER"
    names = {
        "TEACHER": models.teacher,
        "STUDENT": models.student,
        "ENCODER": models.teacher,
        "OTHER": models.student if is_teacher else models.teacher,
    }
    for section, key in (("teach", "model"), ("distill", "model")):
        if section in made:
            made[section] = made[section] | {key: str(names.get(made[section][key], made[section][key]))}
    prepare = dict(made["prepare"])
    if "pairs" in prepare:
        prepare["pairs"] = prepare["pairs"] | {"encoder": str(models.teacher)}
    return Config.model_validate(made | {"prepare": prepare, "store": str(store.root)})


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Interrupt what takes too long: it hangs."""
    import signal

    def stop(*_: Any) -> None:
        raise Hangs(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _check_error(ended: Ended, store: Store) -> None:
    message = ended.message
    assert message.strip() == message, repr(message)
    assert 10 < len(message) < LONGEST_MESSAGE, f"{len(message)} characters: {message[:500]}"
    assert "Traceback" not in message
    message.encode()  # it can be printed
    left = [
        path
        for part in ("artifacts", "work", "models")
        for path in (store.root / part).rglob("*")
        if path.is_file()
    ]
    assert not [path for path in left if path.suffix != ".lock"], f"left in the store: {left}"
    assert not list((store.root / "artifacts").glob("*/*")), "half an artifact"


def _check_rows(config: Config, manifest: Manifest, artifact: Path, rows: int | None) -> None:
    """Every row of every file stands in exactly one place, by the numbers told and by the files themselves."""
    told = manifest.summary["rows"]
    assert told["read"] == told["pairs"] + told["utterances"] + told["rejected"]
    assert rows is None or told["read"] == rows, f"{told['read']} rows read, {rows} are there"
    assert sum(manifest.summary["rejected"].values()) == told["rejected"]
    files = files_of(config.prepare)
    places: dict[str, list[int]] = {source_name(file): [] for file in files}
    built = {source_name(file) for file in files if not isinstance(file, PairsFile)}
    for name in ("pairs", "rejects", "utterances"):
        path = artifact / f"{name}.parquet"
        if not path.exists():
            assert name == "utterances"
            continue
        found = duckdb.read_parquet(str(path)).select("source, source_row").fetchall()
        assert len(found) == manifest.files[path.name].rows
        for source, number in found:
            if name != "pairs" or source not in built:
                places[source].append(number)
    for source, numbers in places.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"{source}: {Counter(numbers).most_common(3)}"
    assert sum(map(len, places.values())) == told["read"]
