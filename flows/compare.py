"""A comparison of many students as one Prefect flow: what they share is computed once.

The students go seed by seed, so that a comparison which is cut off has every variant once before any twice.
Several can be made at a time, each in a process with its share of the cores: the products of a small student keep
few threads busy.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue

from prefect import flow, task
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from data.errors import FlipkdError
from flows.flip import make, show_progress
from flows.gpu import gpu_slot
from flows.remaining_time import Clock
from flows.summary import HOOKS
from flows.workers import in_process, processes_ended_if_stopped
from pipeline.comparison.config import CompareConfig, Job, all_jobs
from pipeline.comparison.statistics import MeasuredStudent, summarise, value_rows
from pipeline.comparison.view import draw, markdown
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.check import checked_plan
from pipeline.runner.execute import execute
from pipeline.runner.plan import Step, plan, side_step
from pipeline.runner.runs import recording
from pipeline.store.store import Store, make_folder

log = logging.getLogger("flipkd.compare")
Plan = list[Step]


def run_comparison(
    comparison: CompareConfig, out: str, store: str | None = None, jobs: int = 1, there_only: bool = False
) -> str:
    """`compare`, with several students at a time where `jobs` is above 1."""
    if jobs == 1 or there_only:
        return compare(comparison, out, store, there_only=there_only)
    runner = ThreadPoolTaskRunner(max_workers=jobs)
    return compare.with_options(task_runner=runner)(comparison, out, store, jobs)  # type: ignore[arg-type]


@flow(name="compare", persist_result=False, **HOOKS)
def compare(
    comparison: CompareConfig, out: str, store: str | None = None, jobs: int = 1, there_only: bool = False
) -> str:
    """Train and measure every variant of every dataset with every seed, and write the comparison.

    Args:
        comparison: the datasets, variants and seeds.
        out: the folder to write to: `comparison.parquet` (a row for each student, split, score and metric),
            `summary.parquet` (means and differences with intervals), `comparison.md`, `comparison.png`.
        store: the artifact store; by default that of each dataset's config.
        jobs: students at a time; above 1 by `run_comparison`, which brings the processes.
        there_only: take the students that are measured already, and make none.

    Returns:
        The Markdown tables.

    Raises:
        FlipkdError: a config, file or model is wrong, and nothing is trained; or students failed, and the others
            were made; or none is there.
    """
    show_progress()
    todo = all_jobs(comparison, store)
    for config in {job[0]: job[3] for job in todo}.values():
        checked_plan(config)
    plans = [_plan(job[3]) for job in todo]
    last = [store_of(job[3]).path("measure", steps[-1].key) for job, steps in zip(todo, plans, strict=True)]
    if there_only:
        there = [n for n, folder in enumerate(last) if folder.exists()]
        log.info("compare: %d of %d students are there", len(there), len(todo))
        if not there:
            raise FlipkdError("compare: none of these students is in the store yet; leave --there-only out")
        todo, plans, last = [todo[n] for n in there], [plans[n] for n in there], [last[n] for n in there]
    already = [folder.exists() for folder in last]
    clock = Clock(already, jobs)
    found: dict[int, MeasuredStudent] = {}
    if there_only:
        made: Iterator[tuple[int, float]] = ((number, 0.0) for number in range(len(todo)))
    else:
        made = _at_once(todo, plans, jobs) if jobs > 1 else _one_by_one(todo, plans)

    def write_all() -> str:
        return write([found[n] for n in sorted(found)], comparison, Path(out))

    with processes_ended_if_stopped():
        try:
            for count, (number, seconds) in enumerate(made, 1):
                dataset, variant, seed, _ = todo[number]
                clock.done(number, seconds)
                log.info(
                    "compare: %d of %d done: %s, %s, seed %d%s",
                    count, len(todo), dataset, variant, seed, clock.left(),
                )  # fmt: skip
                found[number] = MeasuredStudent(dataset, variant, seed, last[number])
                if not already[number]:  # a table of many students takes seconds
                    write_all()
        except FlipkdError:
            if found:
                write_all()
            raise
    return write_all()


def _plan(config: Config) -> Plan:
    steps = plan(config, "distill")
    return [*steps, side_step("measure", config, steps)]


def _one_by_one(todo: Sequence[Job], plans: Sequence[Plan]) -> Iterator[tuple[int, float]]:
    """Make the students in order; yields the number of each that is done, and its seconds."""
    for number, ((*_, config), steps) in enumerate(zip(todo, plans, strict=True)):
        started, store = time.monotonic(), store_of(config)
        with recording(config, store, steps):
            for step in steps:
                make(step, config, store)
        yield number, time.monotonic() - started


def _at_once(todo: Sequence[Job], plans: Sequence[Plan], jobs: int) -> Iterator[tuple[int, float]]:
    """Make several students at a time, in processes; what they share comes first, here. Yields as above.

    Raises:
        FlipkdError: students failed; the others are made first.
    """
    shared = {
        (store_of(job[3]).root, *(step.key for step in steps[:-2])): (job[3], steps[:-2])
        for job, steps in zip(todo, plans, strict=True)
    }
    for config, steps in shared.values():
        store = store_of(config)
        with recording(config, store, steps):
            for step in steps:
                make(step, config, store)
    # No more at a time than there are processes: what is submitted together starts in any order.
    waiting = iter(enumerate(todo))
    threads = max(1, len(os.sched_getaffinity(0)) // jobs) if hasattr(os, "sched_getaffinity") else 1
    running: dict[PrefectFuture[float], int] = {}
    ended: Queue[PrefectFuture[float]] = Queue()

    def begin(count: int) -> None:
        for number, (dataset, variant, seed, config) in itertools.islice(waiting, count):
            name = f"{dataset} {variant} seed {seed}"
            future = run_student.submit(name, plans[number], config, store_of(config), threads)
            running[future] = number
            future.add_done_callback(ended.put)

    begin(jobs)
    failed: list[str] = []
    while running:
        try:
            # Polars' handler of Ctrl-C does not wake a thread that waits: Python hears of it when this one wakes.
            future = ended.get(timeout=1)
        except Empty:
            continue
        number = running.pop(future)
        begin(1)
        result = future.result(raise_on_failure=False)
        if not isinstance(result, BaseException):
            yield number, result
            continue
        dataset, variant, seed, _ = todo[number]
        failed.append(f"{dataset}, {variant}, seed {seed}: {result}")
        log.error("compare: failed: %s", failed[-1])
    if failed:
        raise FlipkdError("\n".join([f"{len(failed)} of {len(todo)} students failed:", *failed]))


@task(task_run_name="{name}", persist_result=False)
def run_student(name: str, steps: Plan, config: Config, store: Store, threads: int) -> float:
    """Train and measure one student in a process of its own; returns its seconds."""
    started = time.monotonic()
    if all(store.path(step.stage, step.key).exists() for step in steps[-2:]):
        make_student(steps, config, store)  # looks, and notes that they are in use
    else:
        in_process(name, threads, make_student, steps, config, store)
    return time.monotonic() - started


def make_student(steps: Plan, config: Config, store: Store) -> None:
    """The last two of the steps: training and measuring."""
    with recording(config, store, steps):
        for step in steps[-2:]:
            with gpu_slot(step.stage):
                execute(step, config, store)


def write(students: Sequence[MeasuredStudent], comparison: CompareConfig, out: Path) -> str:
    """Write what is known so far; each file is replaced as a whole."""
    make_folder(out)
    summary = summarise(students, comparison.against, count=comparison.resamples, seed=comparison.seeds[0])
    text = markdown(summary, comparison.against)
    for name, save in {
        "comparison.parquet": lambda path: value_rows(students).write_parquet(path),
        "summary.parquet": summary.write_parquet,
        "comparison.md": lambda path: path.write_text(text, encoding="utf-8"),
        "comparison.png": lambda path: draw(summary, path),
    }.items():
        temporary = out / f".{name}"
        save(temporary)
        temporary.replace(out / name)
    return text
