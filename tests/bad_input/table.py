"""The table of kind by outcome: `python -m tests.bad_input.table`."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from tests.bad_input.corpus import FORMATS, cases
from tests.bad_input.run import Models, run, verdict
from tests.tiny import tiny_student, tiny_teacher

OUTCOMES = ("accepted", "accepted with rejects", "error")


def main() -> int:
    """Run the whole corpus and print a Markdown table; 1 if a case ended otherwise than it should."""
    logging.disable(logging.CRITICAL)
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    slowest, longest = "", 0.0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flipkd-bad-input-") as scratch:
        models = Models(tiny_teacher(Path(scratch) / "teacher"), tiny_student(Path(scratch) / "student"))
        corpus = cases()
        for number, case in enumerate(corpus):
            ended = run(case, Path(scratch) / str(number), models)
            found[row_of(case.kind)][ended.outcome] += 1
            problem = verdict(case, ended)
            wrong += [f"{case.id}: {problem}"] if problem else []
            if ended.seconds > longest:
                slowest, longest = case.id, ended.seconds
    write = sys.stdout.write
    write(f"| kind | {' | '.join(OUTCOMES)} |\n| --- |{' ---: |' * len(OUTCOMES)}\n")
    for kind, counts in [*sorted(found.items()), ("all", sum(found.values(), Counter()))]:
        write(f"| {kind} | {' | '.join(str(counts[outcome] or '') for outcome in OUTCOMES)} |\n")
    write(
        f"\n{len(corpus)} inputs in {time.monotonic() - started:.0f} s; the slowest, {slowest}: {longest:.2f} s\n"
    )
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


def row_of(kind: str) -> str:
    """The table's row: formats stand together, kinds of models and of configs apart."""
    first, _, second = kind.partition(", ")
    return first if second in (*FORMATS, "other") else kind


if __name__ == "__main__":
    raise SystemExit(main())
