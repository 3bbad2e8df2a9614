"""A saved student, loaded as everybody loads it, and its scores of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.errors import FlipkdError
from models.loading.weights import check_weights, wants_code
from models.runtime.device import own_device
from models.runtime.precision import matrix_precision
from models.runtime.quiet import quiet
from models.student.flipkd_student import SETTINGS, FlipkdStudent


def load_student(folder: Path, *, trust_remote_code: bool = False) -> FlipkdStudent:
    """A saved student as everybody loads it: in the dtype of its `student.json`, on the GPU if there is one.

    No code of the folder runs: its `flipkd_student.py` stays unread, this installation's own module is used.

    Args:
        trust_remote_code: run the code of the base model, for a base that has code of its own.

    Raises:
        FlipkdError: the folder holds no student, or one whose base brings code that is not to be run.
    """
    folder = folder_of(folder)
    if (folder / "base").is_dir():
        check_weights(str(folder / "base"), folder / "base")
    try:
        with quiet():
            student = FlipkdStudent.load(str(folder), trust_remote_code=trust_remote_code)
    except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:  # one: bitsandbytes is not there
        if wants_code(error):
            raise FlipkdError(
                f"{folder}: the student's base model brings code of its own; read that code, then allow it "
                "(flipkd predict --trust-remote-code)"
            ) from None
        raise FlipkdError(f"{folder}: the student cannot be loaded: {str(error).splitlines()[0]}") from error
    return student.to(own_device()).eval()


def folder_of(named: Path) -> Path:
    """The folder of a student, which may be named by that of its export.

    Raises:
        FlipkdError: there is none.
    """
    for folder in (named, named / "student"):
        if (folder / SETTINGS).is_file():
            return folder
    raise FlipkdError(f"{named}: no {SETTINGS} in it; name the folder `student/` that an export wrote")


def score_pairs(
    student: FlipkdStudent,
    pairs: Sequence[tuple[str, str]],
    batch_pairs: int,
    advance: Callable[[float], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """`decoder`, `encoder` and, where the student has a decision, `fused` and `matches` of n pairs, (n,) each.

    Products of fp32 numbers are computed in fp32, whatever this machine does faster.
    """
    with matrix_precision("fp32"):
        return student.match(pairs, batch_pairs, advance)
