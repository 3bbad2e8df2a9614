"""Some of the corpus through the real command line: one message on stderr, no traceback but with --debug."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.bad_input.corpus import Case, cases
from tests.bad_input.run import MOST_SECONDS
from tests.checkout import ROOT

CHOSEN = (
    "columns, csv: no label",
    "containers, csv: zip",
    "containers, parquet: csv inside",
    "encodings, tsv: utf-16",
    "few rows, jsonl: empty file",
    "places: a pipe",
    "places: a device without end",
    "configs, YAML: a billion laughs",
    "configs, YAML: a Python object",
    "configs, values: a hundred unknown keys",
    "configs, places: a gigabyte",
)
BY_ID = {case.id: case for case in cases()}


def config_of(case: Case, folder: Path) -> Path:
    made = case.make(folder)
    if isinstance(made, Path):
        return made
    config = folder / "flipkd.yaml"
    config.write_text(yaml.safe_dump(made), encoding="utf-8")
    return config


def flipkd(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FLIPKD_HOME": str(folder / "store")}
    program = "from pipeline.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", CHOSEN)
def test_one_message_and_no_traceback(name: str, tmp_path: Path) -> None:
    case = BY_ID[name]
    config = config_of(case, tmp_path)
    started = time.monotonic()
    done = flipkd(tmp_path, "run", config, "--until", "prepare")
    assert time.monotonic() - started < 3 * MOST_SECONDS
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.stderr
    assert [part for part in case.says if part not in done.stderr] == []
    assert not list(tmp_path.glob("store/artifacts/*/*"))


def test_debug_shows_where_it_came_from(tmp_path: Path) -> None:
    config = config_of(BY_ID["columns, csv: no label"], tmp_path)
    done = flipkd(tmp_path, "--debug", "run", config, "--until", "prepare")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "FlipkdError: prepare.inputs.0: rows.csv: no column 'label'" in done.stderr
