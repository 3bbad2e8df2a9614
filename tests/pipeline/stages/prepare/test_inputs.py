"""The input files: names, columns, and files that change while they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.stages.prepare.inputs import check_inputs
from tests.pipeline.stages.prepare.test_run import config_of, good, write


def test_missing_columns_and_double_names(tmp_path: Path) -> None:
    path = write(tmp_path, good(4))
    with pytest.raises(FlipkdError, match=r"prepare\.inputs\.1: rows\.csv: no column 'question'"):
        check_inputs(config_of({"path": path, "name": "one"}, {"path": path, "text_a": "question"}))
    with pytest.raises(FlipkdError, match="label: null"):
        check_inputs(config_of({"path": write(tmp_path, [["a", "b"]], head="text_a,text_b")}))
    with pytest.raises(FlipkdError, match=r"two files are called 'rows\.csv'"):
        check_inputs(config_of({"path": path}, {"path": path}))
    with pytest.raises(FlipkdError, match="`split` or `split_column`, not both"):
        check_inputs(config_of({"path": path, "split": "dev", "split_column": "label"}))
