"""`flipkd export --as reranker`: the student's decoder as a plain folder, checked in a clean process."""

from __future__ import annotations

import logging
import tempfile
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import torch

from data.errors import FlipkdError
from models.student.flipkd_student import FlipkdStudent, PairPrompt
from models.student.load import folder_of, load_student, score_pairs
from models.student.reranker import Dtype, write_reranker, wrongly_read
from pipeline.stages.export.clean_process import COARSE_TOLERANCE, TOLERANCE, ask, spread_sample

log = logging.getLogger("flipkd.export")
SAMPLE = "sample/faq.csv"
CHECKED_PAIRS = 24
# What any catalogue may hold: other scripts, spaces at the ends, lines, signs without letters.
ODD = [
    ("a", "b"),
    ("\u5361\u4e22\u4e86\u600e\u4e48\u529e", "\u5361\u4e0d\u89c1\u4e86"),
    (" a question ", "an answer\n"),
    ("why?\n\nplease", "..."),
    ("na\u00efve caf\u00e9", "\U0001f937 10\u00b2"),
]


def export_reranker(student: Path, out: Path, dtype: Dtype | None = None) -> dict[str, float]:
    """Write the folder, all of it or nothing.

    Args:
        student: the folder `student` of an export.
        out: must not be there, or be empty.
        dtype: of its weights; None for the student's own.

    Returns:
        The largest difference in a clean process: of `CrossEncoder` from the student's decoder, and of
        transformers alone from `CrossEncoder`.

    Raises:
        FlipkdError: there is no student, `out` holds something, or the student cannot be had as a plain folder, or
            gives other numbers there.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FlipkdError(f"-o {out}: is there already; name a folder that is not, or remove it")
    loaded = load_student(student)
    own: Dtype = "bf16" if next(loaded.lm.parameters()).dtype == torch.bfloat16 else "fp32"
    dtype = dtype or own
    pairs = checked_pairs(loaded.prompt)
    if wrong := wrongly_read(loaded.prompt, pairs):
        raise FlipkdError(
            f"{student}: a plain tokenizer would read the pair {wrong!r} by other tokens than the student does"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            made = Path(scratch, out.name)
            write_reranker(loaded, folder_of(student), made, dtype)
            coarse = "bf16" in {dtype, own} or loaded.settings.get("base") == "int8"
            found = differences(loaded, made, pairs, COARSE_TOLERANCE if coarse else TOLERANCE)
            with (made / "README.md").open("a", encoding="utf-8") as card:
                card.write(
                    f"When this was written, {len(pairs)} pairs in a clean process differed from the student's "
                    f"decoder by at most\n{found['student']:.1g}, and transformers alone from CrossEncoder by "
                    f"{found['transformers']:.1g}.\n"
                )
            made.replace(out)
    except OSError as error:
        raise FlipkdError(f"-o {out}: cannot be written: {error.strerror or error}") from None
    log.info("export: a clean process gives the student's decoder scores, within %.1g", found["student"])
    return found


def differences(
    student: FlipkdStudent, folder: Path, pairs: list[tuple[str, str]], tolerance: float
) -> dict[str, float]:
    """How far the folder's numbers lie from the student's, in a clean process.

    Args:
        student: asks in one order from now on, if it has another wording for the other one.

    Raises:
        FlipkdError: further than `tolerance`.
    """
    answers = {name: np.array(values) for name, values in ask("the reranker", folder, pairs).items()}
    prompt = student.prompt
    if prompt.turned is not None:  # the folder knows one wording
        prompt.orders = "one"
    wanted = score_pairs(student, pairs, 8)["decoder"]
    got = (answers["given"] + answers["turned"]) / 2 if prompt.orders == "both" else answers["given"]
    found = {
        "student": float(np.abs(got - wanted).max()),
        "transformers": float(np.abs(answers["given"] - answers["transformers"]).max()),
    }
    for name, value in found.items():
        if not value <= tolerance:
            raise FlipkdError(
                f"the reranker's scores differ in a clean process by up to {value:.2g} ({name}; allowed: "
                f"{tolerance:g}), so the folder was not kept"
            )
    return found


def checked_pairs(prompt: PairPrompt) -> list[tuple[str, str]]:
    """Pairs of the shipped sample and odd ones that the student reads whole, from the shortest to the longest."""
    texts = pl.read_csv(files("data").joinpath(SAMPLE).read_bytes())["text"].to_list()
    pairs = [pair for pair in [*pairwise(texts), *ODD] if max(map(len, prompt.texts(pair))) < prompt.max_length]
    return [pairs[n] for n in spread_sample(pairs, CHECKED_PAIRS)]
