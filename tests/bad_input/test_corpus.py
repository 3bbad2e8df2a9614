"""Every bad or odd input ends as it should: accepted with its rejects accounted for, or as one clear error."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.corpus import PARTS, Case, cases, pairs, pairs_of, write
from tests.bad_input.run import Models, run, verdict

CASES = cases()


def test_the_corpus_is_large_and_of_every_part() -> None:
    assert len(CASES) >= 300
    assert len({case.kind for case in CASES}) >= 3 * len(PARTS)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_case(case: Case, tmp_path: Path, whole_models: Models) -> None:
    problem = verdict(case, run(case, tmp_path / "case", whole_models))
    assert problem is None, problem


def test_a_file_without_the_right_to_read_it(whole_models: Models) -> None:
    """As somebody who is not the owner; root may read everything, so it steps down for the moment."""
    if os.geteuid() != 0:
        pytest.skip("only root can read as somebody else")

    def make(folder: Path) -> dict[str, Any]:
        path = write(folder / "rows.csv", pairs())
        path.chmod(0)
        return pairs_of(path)

    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o777)
        case = Case(
            "places", "no right to read", make, "error", ("prepare.inputs.0", "rows.csv", "Permission denied")
        )
        os.seteuid(65534)
        try:
            problem = verdict(case, run(case, Path(scratch) / "case", whole_models))
        finally:
            os.seteuid(0)
    assert problem is None, problem
