"""The check that a saved student gives the reported numbers in a clean process; see `student_answers.py`."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.errors import FlipkdError
from models.student.flipkd_student import SETTINGS

log = logging.getLogger("flipkd.export")
SCRIPT = Path(__file__).with_name("student_answers.py")
# Scores in bf16 depend on how pairs fall into batches, in their third digit; fp32 leaves no such excuse.
TOLERANCE, COARSE_TOLERANCE = 1e-4, 0.05
# A student of 7 billion parameters loads twice from a slow disk in half of this.
TIMEOUT_MINUTES = 60
# What the clean process answers, and the reported score that it must equal.
EQUALS = {
    "encode": ("encoder", "SentenceTransformer.encode"),
    "encoder": ("encoder", "the module's match"),
    "decoder": ("decoder", "the module's match"),
    "fused": ("fused", "the module's match"),
    "peft": ("decoder", "peft.AutoPeftModelForCausalLM"),
}


def check_in_clean_process(
    student: Path,
    pairs: Sequence[tuple[str, str]],
    reported: Mapping[str, NDArray[np.floating]],
    scratch: Path | None = None,
) -> dict[str, float]:
    """Load the student in a clean process, in every way that people load it, and compare its numbers.

    Args:
        pairs: a sample of n pairs.
        reported: `encoder`, `decoder` and `fused` of these pairs, (n,) each.
        scratch: where temporary files go; a folder that somebody sweeps if this process dies.

    Returns:
        The largest absolute difference by the names of `EQUALS`.

    Raises:
        FlipkdError: the student does not load or answer, or a number differs by more than the tolerance (of its
            dtype).
    """
    tolerance = _tolerance(student)
    answers = ask("the exported student", student, pairs, scratch)
    found = {}
    for name, (score, loader) in EQUALS.items():
        if len(answers.get(name, [])) != len(pairs):
            raise FlipkdError(f"the exported student gives no `{name}` in a clean process")
        found[name] = float(np.abs(np.array(answers[name]) - reported[score]).max())
        if not found[name] <= tolerance:
            raise FlipkdError(
                f"the exported student, loaded by {loader} in a clean process, gives {score} scores that differ "
                f"from the reported ones by up to {found[name]:.2g} (allowed: {tolerance:g}); the folder does not "
                "hold the model that was measured"
            )
    log.info("a clean process gives the same numbers, within %.1g", max(found.values()))
    return found


def _tolerance(student: Path) -> float:
    """By how much scores of one student may differ from way to way."""
    settings = json.loads((student / SETTINGS).read_text("utf-8"))
    # int8 takes columns with an outlier apart, and which these are is a matter of the batch, too.
    exact = settings.get("dtype", "auto") == "float32" and settings.get("base") != "int8"
    return TOLERANCE if exact else COARSE_TOLERANCE


def ask(
    what: str, folder: Path, pairs: Sequence[tuple[str, str]], scratch: Path | None = None
) -> dict[str, list[float]]:
    """What a model's folder answers in a clean process.

    Args:
        what: the folder holds, for messages.
        scratch: where temporary files go.

    Raises:
        FlipkdError: it does not load or answer, or takes flipkd's own packages.
    """
    with tempfile.TemporaryDirectory(prefix="flipkd-verify-", dir=scratch and scratch.resolve()) as own:
        request, answer = Path(own, "request.json"), Path(own, "answer.json")
        request.write_text(json.dumps({"pairs": list(pairs)}), encoding="utf-8")
        # The student's code is copied to the modules' cache: one of its own, so that no older copy answers.
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "HF_MODULES_CACHE": str(Path(own, "modules")),
            "TRANSFORMERS_VERBOSITY": "error",
            "TMPDIR": own,
        }
        command = [sys.executable, "-I", str(SCRIPT), str(folder.resolve()), str(request), str(answer)]
        code, said = _run(command, own, environment)
        if code is None:
            raise FlipkdError(f"{what} gives no answer in a clean process after {TIMEOUT_MINUTES} minutes")
        if code:
            reason = "\n".join(said.strip().splitlines()[-8:])
            raise FlipkdError(f"{what} does not load in a clean process:\n{reason}")
        answers = json.loads(answer.read_text(encoding="utf-8"))
    if answers.pop("imported"):
        raise FlipkdError(f"{what} imports flipkd's own packages, so it would not load without them")
    return answers


def _run(command: list[str], folder: str, environment: dict[str, str]) -> tuple[int | None, str]:
    """Run the clean process; its exit code, None if it took too long, and what it said on stderr.

    It holds the other end of a pipe, and ends when this process does, however that may be.
    """
    said = Path(folder, "stderr.txt")
    with (
        said.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        ) as process,
    ):
        try:
            code = process.wait(60 * TIMEOUT_MINUTES)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            process.kill()
    return code, said.read_text("utf-8", errors="replace")


def spread_sample(pairs: Sequence[tuple[str, str]], count: int) -> list[int]:
    """Places of up to `count` pairs from the shortest to the longest, evenly spread."""
    by_length = sorted(range(len(pairs)), key=lambda n: (len(pairs[n][0]) + len(pairs[n][1]), n))
    if len(pairs) <= count:
        return by_length
    return [by_length[round(place)] for place in np.linspace(0, len(pairs) - 1, count)]
