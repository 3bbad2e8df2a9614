"""A record of every run: `<store>/runs/<started>-<random>.json`, and whether the run is still going on.

A run holds an operating-system lock on its record. So a reader tells a run in progress from one that was killed
without asking clocks or process numbers: no end in the record and the lock free means that it crashed.

    with recording(config, store, steps):
        ...  # run the steps

`flipkd gc` keeps what runs in progress and recent runs planned.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.runner.plan import Step
from pipeline.store.disk import replace_file
from pipeline.store.lock import StoreLock
from pipeline.store.manifest import MANIFEST
from pipeline.store.store import Store

log = logging.getLogger("flipkd.run")
RunState = Literal["running", "completed", "failed", "crashed", "damaged"]
ERROR_CHARACTERS = 500
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|API_?KEY|ACCESS_KEY", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^/\s@]+(?=@)")


class PlannedStep(BaseModel):
    """A stage of a run, as it was planned: the key of its artifact, and what it reads (see `stages.Step`)."""

    model_config = ConfigDict(frozen=True)
    key: str
    inputs: dict[str, str]


class StageOutcome(BaseModel):
    """What became of a stage: computed (in so many seconds), taken from the store, or not reached."""

    model_config = ConfigDict(frozen=True)
    outcome: Literal["computed", "cached", "not reached"]
    seconds: float | None = None


class RunRecord(BaseModel):
    """What is written down about a run. A field that a newer flipkd adds is left out when read.

    Attributes:
        started: UTC by the machine's clock, ISO 8601; `ended` too. Clocks may go backwards: `seconds` does not.
        config: all settings, as JSON.
        steps: stage name to what was planned, in order.
        state: how it ended; None until then, and for ever if it was killed.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    started: str
    flipkd: str
    pid: int
    config: dict[str, Any]
    steps: dict[str, PlannedStep]
    state: Literal["completed", "failed"] | None = None
    ended: str | None = None
    seconds: float | None = None
    error: str | None = None
    stages: dict[str, StageOutcome] = {}

    @property
    def name(self) -> str | None:
        """What its config is called in the store; None where it was not said."""
        return self.config.get("promote", {}).get("name")


@dataclass(frozen=True)
class Run:
    """A run as a reader finds it.

    Attributes:
        record: None if it cannot be read; `problem` then says why.
        modified: when the record was last written, seconds since 1970 by the machine's clock.
    """

    id: str
    path: Path
    state: RunState
    record: RunRecord | None
    modified: float
    problem: str = ""

    @property
    def planned(self) -> list[tuple[str, str]]:
        """Stage and key of the artifacts that the run needs."""
        return [(stage, step.key) for stage, step in self.record.steps.items()] if self.record else []


# ------------------------------------------------------------------------------------------------- writing


@contextmanager
def recording(config: Config, store: Store, steps: Sequence[Step]) -> Iterator[str]:
    """Write down that these steps are run now, and how it ended. Nothing that they need is removed meanwhile.

    Yields:
        The run's id.

    Raises:
        FlipkdError: the store cannot be written.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    # To the microsecond: runs whose stages are all there follow each other within a second, and names are sorted.
    run_id = f"{began:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(3)}"
    record = RunRecord(
        id=run_id,
        started=began.isoformat(timespec="seconds"),
        flipkd=_version(),
        pid=os.getpid(),
        config=without_secrets(config.model_dump(mode="json")),
        steps={step.stage: PlannedStep(key=step.key, inputs=step.inputs) for step in steps},
    )
    lock = store.named_lock(_lock_name(run_id))
    with store.gate():  # from here on `flipkd gc` knows of the run, or has removed what it removes
        lock.acquire()
        try:
            _write(store, record)
        except BaseException:
            _let_go(lock)
            raise
    before = {step.stage: _trace(store, step) for step in steps}
    end: dict[str, Any] = {"state": "completed"}
    try:
        yield run_id
    except BaseException as error:
        end = {"state": "failed", "error": one_line(error)}
        raise
    finally:
        end["seconds"] = round(time.monotonic() - clock, 3)
        end["ended"] = datetime.now(UTC).isoformat(timespec="seconds")
        end["stages"] = {step.stage: _outcome(store, step, before[step.stage]) for step in steps}
        try:
            _write(store, record.model_copy(update=end))
        except FlipkdError as error:  # the run's own end matters more
            log.warning("how the run ended could not be written down: %s", error)
        _let_go(lock)


def _write(store: Store, record: RunRecord) -> None:
    replace_file(store.runs / f"{record.id}.json", record.model_dump_json(indent=2) + "\n")


def _let_go(lock: StoreLock) -> None:
    """Release a run's lock and remove its file: its name is this run's alone, so nobody will ever wait for it."""
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _lock_name(run_id: str) -> str:
    return f"run-{run_id}"


def _trace(store: Store, step: Step) -> tuple[int, int] | None:
    """What changes when an artifact is written again; None if there is none."""
    try:
        found = (store.path(step.stage, step.key) / MANIFEST).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _outcome(store: Store, step: Step, before: tuple[int, int] | None) -> StageOutcome:
    after = _trace(store, step)
    if after is None:
        return StageOutcome(outcome="not reached")
    if after == before:
        return StageOutcome(outcome="cached")
    try:
        return StageOutcome(outcome="computed", seconds=store.manifest(step.stage, step.key).duration_seconds)
    except FlipkdError:
        return StageOutcome(outcome="computed")


def _version() -> str:
    try:
        return version("flipkd")
    except PackageNotFoundError:
        return "not installed"


def one_line(error: BaseException) -> str:
    """An error in one line, without secrets; its class is named unless it is a message for the user."""
    text = " ".join(str(error).split())
    shown = text if isinstance(error, FlipkdError) else f"{type(error).__name__}: {text}".removesuffix(": ")
    return without_secrets(shown)[:ERROR_CHARACTERS]


def without_secrets(value: Any) -> Any:
    """Plain data with the users of URLs, and the values of environment variables such as HF_TOKEN, left out."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if not isinstance(value, str):
        return value
    for name, secret in os.environ.items():
        if len(secret) >= 8 and _SECRET_NAME.search(name):
            value = value.replace(secret, "***")
    return _URL_USER.sub("***", value)


# ------------------------------------------------------------------------------------------------- reading


def runs(store: Store, without: Container[str] = ()) -> list[Run]:
    """All runs of a store, oldest first by the clock of the time; a damaged record is one of them.

    Args:
        without: ids of runs that are not read.
    """
    paths = sorted(path for path in store.runs.glob("[!.]*.json") if path.stem not in without)
    return list(_read_all(store, paths))


def last_record(store: Store, name: str | None) -> RunRecord | None:
    """The record of the last run under a name; older ones are not read."""
    newest_first = sorted(store.runs.glob("[!.]*.json"), reverse=True)
    records = (run.record for run in _read_all(store, newest_first))
    return next((record for record in records if record and record.name == name), None)


def _read_all(store: Store, paths: Iterable[Path]) -> Iterator[Run]:
    for path in paths:
        with suppress(FileNotFoundError):  # removed meanwhile
            yield _read(store, path)


def _read(store: Store, path: Path) -> Run:
    # The lock is looked at first: a run that ends in between then counts as ended, not as crashed.
    held = is_held(store.locks / f"{_lock_name(path.stem)}.lock")
    modified = path.stat().st_mtime
    try:
        record = RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise
    except (ValidationError, OSError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        state = "running" if held else "damaged"
        return Run(path.stem, path, state, None, modified, f"{path} cannot be read as a run: {reason}")
    return Run(path.stem, path, record.state or ("running" if held else "crashed"), record, modified)


def is_held(lock_file: Path) -> bool:
    """Whether a process holds a lock now. Asks without taking it, so that readers do not disturb one another."""
    try:
        handle = os.open(lock_file, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it cannot be known; taken for held, nothing is removed
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def sweep_locks(store: Store) -> int:
    """Remove the lock files of runs that were killed. Hold the gate: then no run is about to begin.

    Safe, unlike for other locks: a run's name is used once, so nobody opens the file after its holder is dead but
    to look.

    Returns:
        How many there were.
    """
    dead = [path for path in store.locks.glob(f"{_lock_name('*')}.lock") if not is_held(path)]
    for path in dead:
        path.unlink(missing_ok=True)
    return len(dead)
