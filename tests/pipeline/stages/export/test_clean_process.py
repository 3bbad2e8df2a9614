"""The check of a saved student in a process that knows nothing of flipkd."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from data.errors import FlipkdError
from pipeline.stages.export.clean_process import check_in_clean_process, spread_sample


@pytest.fixture(scope="module")
def exported(tiny_run: Path) -> Path:
    return next(path.parent for path in (tiny_run / "store/artifacts/export").glob("*/manifest.json"))


def test_a_clean_process_notices_weights_that_were_changed(exported: Path, tmp_path: Path) -> None:
    student = tmp_path / "student"
    student.mkdir()
    for file in (exported / "student").iterdir():
        (student / file.name).symlink_to(file)
    (student / "adapter_model.safetensors").unlink()
    weights = load_file(exported / "student/adapter_model.safetensors")
    save_file({name: values * 1.5 for name, values in weights.items()}, student / "adapter_model.safetensors")
    frame = pl.read_parquet(exported / "predictions.parquet")
    texts = list(zip(frame["text_a"], frame["text_b"], strict=True))[:3]
    reported = {name: frame[name].to_numpy()[:3] for name in ("decoder", "encoder", "fused")}
    with pytest.raises(FlipkdError, match="does not hold the model that was measured"):
        check_in_clean_process(student, texts, reported)


def test_a_clean_process_that_fails_is_told_with_its_reason(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit('no such class in modules.json')")
    monkeypatch.setattr("pipeline.stages.export.clean_process.SCRIPT", script)
    with pytest.raises(FlipkdError, match=r"does not load in a clean process:\nno such class in modules.json"):
        check_in_clean_process(exported / "student", [("a", "b")], {})


def test_a_clean_process_that_never_answers_is_ended(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "sleeps.py"
    script.write_text("import time; time.sleep(600)")
    monkeypatch.setattr("pipeline.stages.export.clean_process.SCRIPT", script)
    monkeypatch.setattr("pipeline.stages.export.clean_process.TIMEOUT_MINUTES", 0.01)
    with pytest.raises(FlipkdError, match="no answer in a clean process"):
        check_in_clean_process(exported / "student", [("a", "b")], {}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sleeps.py"]


def test_the_sample_spreads_from_the_shortest_pair_to_the_longest() -> None:
    pairs = [("x" * n, "") for n in (5, 1, 4, 2, 3, 9, 8, 7, 6)]
    assert [len(pairs[n][0]) for n in spread_sample(pairs, 5)] == [1, 3, 5, 7, 9]
    assert len(spread_sample(pairs, 50)) == len(pairs)


# Its answer names those of flipkd's packages that it would import out of the folder that it is given as a pair.
SCRIPT = """
import importlib.util, json, sys
from pathlib import Path
_, student, request, answer = sys.argv
folder = json.loads(Path(request).read_text())["pairs"][0][0]
specs = [importlib.util.find_spec(name) for name in ("models", "data", "pipeline")]
Path(answer).write_text(json.dumps({"imported": [s.origin for s in specs if s and folder in str(s.origin)]}))
"""


@pytest.mark.parametrize("way", ["script", "PYTHONPATH"])
def test_packages_around_it_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Neither those beside its script nor those on PYTHONPATH; it starts in a folder of its own."""
    for name in ("models", "data", "pipeline"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "__init__.py").touch()
    (tmp_path / "student.json").write_text("{}", "utf-8")
    script = (tmp_path / "here" if way == "script" else tmp_path) / "script.py"
    script.write_text(SCRIPT, "utf-8")
    monkeypatch.setattr("pipeline.stages.export.clean_process.SCRIPT", script)
    if way == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "here"))
    with pytest.raises(FlipkdError, match="gives no `encode`"):  # which comes after the check of its imports
        check_in_clean_process(tmp_path, [(str(tmp_path / "here"), "")], {})
