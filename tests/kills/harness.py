"""Runs that are killed, what a reader of the store sees meanwhile, and what is there in the end."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import polars as pl
import psutil
from polars.testing import assert_frame_equal

from pipeline.config.config import Config
from pipeline.contract.stage_names import StageName
from pipeline.runner.plan import plan
from pipeline.stages.registry import STAGES
from tests.kills.driver import drive
from tests.kills.moments import Moment
from tests.tiny import tiny_config

CONTEXT = multiprocessing.get_context("forkserver")
WORDY = {"manifest.json", "prefect-result.json", "metrics.json", "report.html", "training_log.parquet"}
TEMPORARY = re.compile(r"^\.|\.writing$|\.discarded$")


@dataclass
class Run:
    """A run in a process of its own."""

    process: Any
    log: Path
    marks: Path

    def wait_for(self, mark: str, seconds: float = 60) -> bool:
        """Wait until a stage has begun, or the run has ended; whether it has begun."""
        deadline = time.monotonic() + seconds
        while not (self.marks / mark).exists() and self.process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        return (self.marks / mark).exists()

    def said(self) -> str:
        """All that the run has said."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def end(self, seconds: float = 120) -> int:
        """Wait for the end of the run; its exit code, negative for a signal."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            raise TimeoutError(f"the run did not end in {seconds} s:\n{self.said()}")
        return self.process.exitcode


@dataclass
class Harness:
    """A store, and the runs on it.

    Attributes:
        url: of a Prefect server.
        folder: for logs, marks and the runs' temporary files.
        config: its store is what gets watched.
        torn: what a reader of the store saw that it should not have.
        runs: how many were started.
    """

    url: str
    folder: Path
    config: Config
    torn: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Path(str(self.config.store))
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._done = threading.Event()
        self._seen: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._reader.join()
        for run in self.runs:
            with suppress(ProcessLookupError):  # it may end by itself in between
                if run.process.is_alive():
                    os.kill(run.process.pid, signal.SIGKILL)
            run.process.join()

    def start(self, **settings: Any) -> Run:
        """Start a run; see `driver.drive` for the settings."""
        number = len(self.runs)
        marks = self.folder / f"marks-{number}"
        marks.mkdir(parents=True)
        log = self.folder / f"run-{number}.log"
        settings = {
            "url": self.url,
            "config": self.config.model_dump_json(),
            "marks": marks,
            "log": log,
            "temporary": self.temporary,
        } | settings
        process = CONTEXT.Process(target=drive, args=(settings,), daemon=False)
        process.start()
        self.runs.append(Run(process, log, marks))
        return self.runs[-1]

    def kill_at(self, moment: Moment, signal_: int) -> Run | None:
        """A run that dies at a moment; its stage runs again if its artifact is there already.

        None if the moment did not come, which happens where a killed run had left little to do.
        """
        done = self.recorded if moment.published else self.visible
        refresh = [moment.stage] if done(moment.stage) else []
        # What earlier runs have kept for later ones would leave nothing to do at these moments.
        for word, kept in (("shard", "embeddings"), ("cache", "embeddings"), ("activations", "activations")):
            if word in moment.name:
                shutil.rmtree(self.store / kept, ignore_errors=True)
        # The clean process takes longer than all else: the run that is not killed asks it.
        run = self.start(
            until=moment.stage, refresh=refresh, moment=moment, signal=signal_, check="clean" in moment.name
        )
        if run.end() == 0:
            return None
        self._expect_death(run, signal_)
        return run

    def kill_after(self, stage: StageName, seconds: float, signal_: int) -> Run | None:
        """A run that is killed so long after a stage began; None if it was quicker."""
        run = self.start(until=stage, refresh=[stage] if self.visible(stage) else [])
        run.wait_for(stage)
        time.sleep(seconds)
        if run.process.is_alive():
            os.kill(run.process.pid, signal_)
        if run.end() == 0:
            return None
        self._expect_death(run, signal_)
        return run

    def kill_at_change(self, stage: StageName, number: int, signal_: int) -> Run | None:
        """A run that dies before its so-many-th change of files in a stage; None if there are fewer."""
        refresh = [stage] if self.visible(stage) else []
        run = self.start(until=stage, refresh=refresh, change=(stage, number), signal=signal_, check=False)
        if run.end() == 0:
            return None
        self._expect_death(run, signal_)
        return run

    def finish(self, until: StageName | None = None, check: bool = True) -> Run:
        """A run that nobody disturbs. `check`: whether export asks a clean process, which takes longest."""
        run = self.start(until=until, check=check)
        if code := run.end():
            raise AssertionError(f"the run ended with {code}:\n{run.said()}")
        return run

    def visible(self, stage: str) -> bool:
        """Whether an artifact of the stage is there."""
        return any(not folder.name.startswith(".") for folder in self.store.glob(f"artifacts/{stage}/*"))

    def recorded(self, stage: str) -> bool:
        """Whether Prefect has its record of an artifact of the stage, and would not run it again."""
        return bool(list(self.store.glob(f"artifacts/{stage}/[!.]*/prefect-result.json")))

    def _expect_death(self, run: Run, signal_: int) -> None:
        code = run.end()
        if code != -signal_:
            raise AssertionError(f"the run ended with {code} instead of {-signal_}:\n{run.said()[-4000:]}")
        self.look()
        deadline = time.monotonic() + 10
        while (left := self.orphans()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if left:
            raise AssertionError(f"the killed run left processes behind: {left}")

    def orphans(self) -> list[str]:
        """Programs that a run has started (they know its temporary folder) and that still run."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.temporary) in process.environ().get("FLIPKD_KILLS", ""):
                    found.append(" ".join(process.cmdline()))
        return found

    def _read(self) -> None:
        while not self._done.is_set():
            self.look(again=False)
            time.sleep(0.02)

    def look(self, again: bool = True) -> None:
        """Note every visible artifact that is not whole; `again`: those that were seen whole before, too."""
        for folder in self.store.glob("artifacts/*/*"):
            if folder.name.startswith("."):
                continue
            with suppress(FileNotFoundError):
                inode = folder.stat().st_ino
                if again or (str(folder), inode) not in self._seen:
                    self._seen.add((str(folder), inode))
                    wrong = torn(folder)
                    if wrong and folder.stat().st_ino == inode:  # else replaced meanwhile
                        self.torn.append(f"{folder}: {wrong}")


def torn(folder: Path) -> str | None:
    """What is wrong with a visible artifact, read by nothing of ours."""
    try:
        entries = json.loads((folder / "manifest.json").read_bytes())["files"]
    except (OSError, ValueError, KeyError) as error:
        return repr(error)
    for name, entry in entries.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            return repr(error)
        if found != entry["sha256"]:
            return f"{name} differs from its digest"
    return None


def leftovers(config: Config) -> list[str]:
    """Temporary files and folders below a store."""
    store = Path(str(config.store))
    hidden = [path for path in store.rglob("*") if TEMPORARY.search(path.name)]
    return [str(path.relative_to(store)) for path in (*hidden, *(store / "work").glob("*/*"))]


def assert_same_outcome(config: Config, reference: Config, until: StageName | None = None) -> None:
    """All artifacts of a config are those of another run of it in another store.

    Every file is the same byte for byte but for those that tell times (`WORDY`) or the store's place; of these
    the rows and numbers are compared, without times.
    """
    for step, other in zip(plan(config, until), plan(reference, until), strict=True):
        assert step.key == other.key
        ours, theirs = (Path(str(c.store)) / "artifacts" / step.stage / step.key for c in (config, reference))
        files, expected = (
            {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} for root in (ours, theirs)
        )
        assert files == expected, step.stage
        for name in sorted(files):
            _assert_same_file(ours / name, theirs / name, (str(ours), str(theirs)))


def _assert_same_file(ours: Path, theirs: Path, places: tuple[str, str]) -> None:
    if ours.suffix == ".parquet":
        frames = [pl.read_parquet(path).drop("tokens_per_second", strict=False) for path in (ours, theirs)]
        assert_frame_equal(frames[0], frames[1], check_exact=True)
    if ours.name == "metrics.json":
        numbers = [json.loads(path.read_bytes()) for path in (ours, theirs)]
        for found in numbers:
            found.pop("durations", None)
        assert numbers[0] == numbers[1], ours
    elif ours.name not in WORDY:
        content = ours.read_bytes().replace(places[0].encode(), places[1].encode())
        assert content == theirs.read_bytes(), ours


@contextmanager
def forkserver(root: Path) -> Iterator[None]:
    """The server that runs are forked from: one thread in each library, quiet, started now."""
    wanted = {
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR", "PYTHONPATH": str(root), "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        CONTEXT.set_forkserver_preload(["tests.kills.driver"])
        first = CONTEXT.Process(target=time.time)
        first.start()
        first.join()
    finally:  # it has its environment now; the tests beside keep theirs
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
    yield


def stage_seconds(config: Config) -> dict[StageName, float]:
    """How long each stage took, by its manifest."""
    found: dict[Any, float] = {}
    for step in plan(config):
        path = Path(str(config.store)) / "artifacts" / step.stage / step.key / "manifest.json"
        found[step.stage] = json.loads(path.read_bytes())["duration_seconds"]
    return found


def other_store(config: Config, folder: Path) -> Config:
    """The same config on an empty store."""
    shutil.rmtree(folder, ignore_errors=True)
    return config.model_copy(update={"store": str(folder)})


def small_config(folder: Path) -> Config:
    """The tiny config with many shards, steps and checkpoints, and dropout; models and pairs lie in `folder`."""
    return tiny_config(
        folder,
        teach={"epochs": 2, "batch_size": 8, "evaluations": 3, "learning_rate": 1e-3, "checkpoint_minutes": 1e-6},
        score={"shard_texts": 16},
        distill={
            "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
            "evaluations": 2,
            "checkpoint_minutes": 1e-6,
            "keep_text_passes": False,
        },
    )


def draw(seed: int) -> random.Random:
    """A generator for delays and signals."""
    return random.Random(seed)


def without(config: Config, stage: StageName, folder: Path) -> Config:
    """The config on a copy of its store from which a stage and those behind it are missing."""
    shutil.copytree(Path(str(config.store)), folder)
    for later in ALL[ALL.index(stage) :]:
        shutil.rmtree(folder / "artifacts" / later, ignore_errors=True)
    if "score" in ALL[ALL.index(stage) :]:
        shutil.rmtree(folder / "embeddings", ignore_errors=True)
    return config.model_copy(update={"store": str(folder)})


ALL: list[StageName] = list(STAGES)  # type: ignore[arg-type]
