"""The program that loads a saved student in a clean process; `test_clean_process` runs it as a whole."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

from pipeline.stages.export import student_answers


def _student(folder: Path) -> Path:
    folder.mkdir()
    config = {"base_model_name_or_path": "/where/it/will/lie", "revision": "main", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_the_base_is_named_where_it_lies_now_and_the_student_stays_as_it_was(tmp_path: Path) -> None:
    student = _student(tmp_path / "student")
    (student / "base").mkdir()
    before = (student / "adapter_config.json").read_bytes()
    (tmp_path / "place").mkdir()
    place = student_answers.named_by_local_base(student, tmp_path / "place")
    config = json.loads((place / "adapter_config.json").read_text("utf-8"))
    assert config == {"base_model_name_or_path": str(student / "base"), "revision": None, "r": 4}
    assert (place / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (student / "adapter_config.json").read_bytes() == before


def test_a_student_on_a_hubs_base_is_taken_as_it_is(tmp_path: Path) -> None:
    student = _student(tmp_path / "student")
    assert student_answers.named_by_local_base(student, tmp_path) == student


def test_it_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    """Its standard input ends: then it must not go on for hours beside the next run."""
    code = (
        f"import runpy, threading, time; own = runpy.run_path({student_answers.__file__!r}); "
        "threading.Thread(target=own['end_with_parent'], daemon=True).start(); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-I", "-c", code], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 1


def test_it_needs_nothing_of_flipkd() -> None:
    """`python -I` finds none of its packages: an import of one would only fail when a student is saved."""
    tree = ast.parse(Path(student_answers.__file__).read_text("utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {name.partition(".")[0] for name in names}
    assert {"torch", "peft", "sentence_transformers"} <= imported
    assert not imported & {"pipeline", "models", "flows", "data"}
