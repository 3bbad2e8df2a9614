"""A comparison of many students as one Prefect flow: what they share is computed once.

The students go seed by seed, so that a comparison which is cut off has every variant once before any twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from flows.clock import Clock
from flows.flip import make, show_progress
from flows.summary import HOOKS
from pipeline.check import check
from pipeline.compare_config import CompareConfig, all_jobs
from pipeline.comparison import Student, summarise, value_rows
from pipeline.comparison_view import draw, markdown
from pipeline.config import Config
from pipeline.runs import recording
from pipeline.settings import store_of
from pipeline.stages import Step, measure_step, plan
from pipeline.store import make_folder

log = logging.getLogger("flipkd.compare")


@flow(name="compare", persist_result=False, **HOOKS)
def compare(comparison: CompareConfig, out: str, store: str | None = None) -> str:
    """Train and measure every variant of every dataset with every seed, and write the comparison.

    Args:
        comparison: the datasets, variants and seeds.
        out: the folder to write to: `comparison.parquet` (a row for each student, split, score and metric),
            `summary.parquet` (means and differences with intervals), `comparison.md`, `comparison.png`.
        store: the artifact store; by default that of each dataset's config.

    Returns:
        The Markdown tables.

    Raises:
        FlipkdError: a config, file or model is wrong; nothing is trained then.
    """
    show_progress()
    jobs = all_jobs(comparison, store)
    for config in {job[0]: job[3] for job in jobs}.values():
        check(config)
    plans = [_plan(job[3]) for job in jobs]
    students: list[Student] = []
    text = ""
    last = [store_of(job[3]).path("measure", steps[-1].key) for job, steps in zip(jobs, plans, strict=True)]
    clock = Clock([folder.exists() for folder in last])
    for number, ((dataset, variant, seed, config), steps) in enumerate(zip(jobs, plans, strict=True), 1):
        log.info("compare: %d of %d: %s, %s, seed %d%s", number, len(jobs), dataset, variant, seed, clock.left())
        target = store_of(config)
        with recording(config, target, steps), clock.timing(number - 1):
            for step in steps:
                make(step, config, target)
        students.append(Student(dataset, variant, seed, last[number - 1]))
        text = write(students, comparison, Path(out))
    return text


def _plan(config: Config) -> list[Step]:
    steps = plan(config, "distill")
    return [*steps, measure_step(config, steps)]


def write(students: Sequence[Student], comparison: CompareConfig, out: Path) -> str:
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
