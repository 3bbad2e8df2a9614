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
from flows.remaining_time import RemainingTime
from flows.summary import HOOKS
from flows.workers import in_process, processes_ended_if_stopped
from pipeline.comparison.budget import best_on_dev, equal_jobs
from pipeline.comparison.config import CompareConfig
from pipeline.comparison.statistics import MeasuredStudent, summarise, value_rows
from pipeline.comparison.students import PlannedStudent, planned_students
from pipeline.comparison.view import cost_table, draw, markdown
from pipeline.runner.execute import execute
from pipeline.runner.plan import Step
from pipeline.runner.runs import recording
from pipeline.store.store import make_folder

log = logging.getLogger("flipkd.compare")


def run_comparison(
    comparison: CompareConfig,
    students: Sequence[PlannedStudent],
    out: Path,
    jobs: int = 1,
    there_only: bool = False,
) -> str:
    """Train and measure every student, and write the comparison.

    Args:
        students: from `planned_students`.
        out: the folder to write to: `comparison.parquet` (a row for each student, split, score and metric),
            `summary.parquet` (means and differences with intervals), `comparison.md`, `comparison.png`.
        jobs: students at a time, each in a process of its own where there are several.
        there_only: take the students that are measured already, and make none.

    Returns:
        The Markdown tables.

    Raises:
        FlipkdError: students failed, and the others were made; or none is there.
    """
    runner = ThreadPoolTaskRunner(max_workers=jobs)

    # The students are no parameter: hundreds of configs are more than Prefect's server takes.
    @flow(name="compare", persist_result=False, task_runner=runner, **HOOKS)  # type: ignore[arg-type]
    def compare(comparison: CompareConfig, out: str, jobs: int, there_only: bool) -> str:
        return _compare(comparison, students, Path(out), jobs, there_only)

    return compare(comparison, str(out), jobs, there_only)


def _compare(
    comparison: CompareConfig, students: Sequence[PlannedStudent], out: Path, jobs: int, there_only: bool
) -> str:
    show_progress()
    made = _all_of(comparison, students, [], out, jobs, there_only)
    if comparison.budget and made:
        more = planned_students(equal_jobs(comparison, made))
        log.info("compare: %d students more, so that every variant costs as much as the dearest", len(more))
        made += _all_of(comparison, more, made, out, jobs, there_only)
    return write(made, comparison, out)


def _all_of(
    comparison: CompareConfig,
    students: Sequence[PlannedStudent],
    before: Sequence[PlannedStudent],
    out: Path,
    jobs: int,
    there_only: bool,
) -> list[PlannedStudent]:
    """Make students, or take those that are there, and write what is known after each; returns them in order."""
    if there_only:
        there = [student for student in students if student.folder.exists()]
        log.info("compare: %d of %d students are there", len(there), len(students))
        if not there and not before:
            raise FlipkdError("compare: none of these students is in the store yet; leave --there-only out")
        return there
    already = [student.folder.exists() for student in students]
    remaining = RemainingTime(already, jobs)
    done: set[int] = set()

    def known() -> list[PlannedStudent]:
        return [*before, *(students[number] for number in sorted(done))]

    with processes_ended_if_stopped():
        try:
            for number, seconds in _at_once(students, jobs) if jobs > 1 else _one_by_one(students):
                one = students[number]
                done.add(number)
                remaining.done(number, seconds)
                log.info(
                    "compare: %d of %d done: %s, %s, seed %d%s",
                    len(done), len(students), one.dataset, one.variant, one.seed, remaining.in_words(),
                )  # fmt: skip
                if not already[number]:  # a table of many students takes seconds
                    write(known(), comparison, out)
        except FlipkdError:
            if done:
                write(known(), comparison, out)
            raise
    return list(students)


def _one_by_one(students: Sequence[PlannedStudent]) -> Iterator[tuple[int, float]]:
    """Make the students in order; yields the number of each that is done, and its seconds."""
    for number, one in enumerate(students):
        started = time.monotonic()
        _make(one, one.steps)
        yield number, time.monotonic() - started


def _make(student: PlannedStudent, steps: Sequence[Step]) -> None:
    """Make some of a student's steps, as tasks, in this process."""
    with recording(student.config, student.store, steps):
        for step in steps:
            make(step, student.config, student.store)


def _at_once(students: Sequence[PlannedStudent], jobs: int) -> Iterator[tuple[int, float]]:
    """Make several students at a time, in processes; what they share comes first, here. Yields as above.

    Raises:
        FlipkdError: students failed; the others are made first.
    """
    shared = {(one.store.root, *(step.key for step in one.steps[:-2])): one for one in students}
    for one in shared.values():
        _make(one, one.steps[:-2])
    # No more at a time than there are processes: what is submitted together starts in any order.
    waiting = iter(enumerate(students))
    threads = max(1, len(os.sched_getaffinity(0)) // jobs) if hasattr(os, "sched_getaffinity") else 1
    running: dict[PrefectFuture[float], int] = {}
    ended: Queue[PrefectFuture[float]] = Queue()

    def begin(count: int) -> None:
        for number, one in itertools.islice(waiting, count):
            future = run_student.submit(f"{one.dataset} {one.variant} seed {one.seed}", one, threads)
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
        one = students[number]
        failed.append(f"{one.dataset}, {one.variant}, seed {one.seed}: {result}")
        log.error("compare: failed: %s", failed[-1])
    if failed:
        raise FlipkdError("\n".join([f"{len(failed)} of {len(students)} students failed:", *failed]))


@task(task_run_name="{name}", persist_result=False)
def run_student(name: str, student: PlannedStudent, threads: int) -> float:
    """Train and measure one student in a process of its own; returns its seconds."""
    started = time.monotonic()
    if all(student.store.path(step.stage, step.key).exists() for step in student.steps[-2:]):
        make_student(student)  # looks, and notes that they are in use
    else:
        in_process(name, threads, make_student, student)
    return time.monotonic() - started


def make_student(student: PlannedStudent) -> None:
    """The last two of its steps: training and measuring."""
    with recording(student.config, student.store, student.steps):
        for step in student.steps[-2:]:
            with gpu_slot(step.stage):
                execute(step, student.config, student.store)


def write(students: Sequence[PlannedStudent], comparison: CompareConfig, out: Path) -> str:
    """Write what is known so far; each file is replaced as a whole."""
    make_folder(out)
    against = best_on_dev(students, comparison.against) if comparison.budget else comparison.against
    measured = [MeasuredStudent(one.dataset, one.variant, one.seed, one.folder) for one in students]
    summary = summarise(measured, against, count=comparison.resamples, seed=comparison.seeds[0])
    values = value_rows(measured)
    text = "\n".join(part for part in (markdown(summary, against), cost_table(values)) if part)
    for name, save in {
        "comparison.parquet": values.write_parquet,
        "summary.parquet": summary.write_parquet,
        "comparison.md": lambda path: path.write_text(text, encoding="utf-8"),
        "comparison.png": lambda path: draw(summary, path),
    }.items():
        temporary = out / f".{name}"
        save(temporary)
        temporary.replace(out / name)
    return text
