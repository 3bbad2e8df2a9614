"""A comparison end to end on tiny models: what is shared is computed once, and the numbers are scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from data.errors import FlipkdError
from pipeline.cli.main import app
from pipeline.comparison.config import load_comparison, variant_config
from tests.comparisons import comparison_file, record_runs, run_planned

SCORES = ("teacher", "decoder", "encoder", "fused")


def test_what_is_shared_is_computed_once(compared: Path) -> None:
    calls = json.loads((compared / "calls.json").read_text("utf-8"))
    assert {stage: calls.count(stage) for stage in dict.fromkeys(calls)} == {
        "prepare": 1, "teach": 1, "score": 1, "filter": 1, "distill": 8, "measure": 8,
    }  # fmt: skip


def test_it_goes_on_where_it_was(compared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    record_runs(monkeypatch, calls)
    before = pl.read_parquet(compared / "out/comparison.parquet")
    run_planned(load_comparison(comparison_file(compared)), compared / "again")
    assert calls == []
    assert pl.read_parquet(compared / "again/comparison.parquet").equals(before)


def test_every_student_split_score_and_metric_has_a_row(compared: Path) -> None:
    rows = pl.read_parquet(compared / "out/comparison.parquet")
    assert rows.columns == ["dataset", "variant", "seed", "split", "score", "metric", "value"]
    assert set(rows["variant"]) == {"teacher", "flip", "sft", "zero_shot", "flip_hidden"}
    costs = rows.filter(score="cost")
    assert set(costs["split"]) == {"train"}
    by_name = {
        (v, m): x for v, m, x in costs.filter(pl.col("seed") < 2).select("variant", "metric", "value").rows()
    }
    assert by_name["teacher", "seconds"] > 0
    # The untrained one took no step; flip also reads texts alone.
    assert by_name["zero_shot", "tokens"] == 0 < by_name["sft", "tokens"] < by_name["flip", "tokens"]
    rows = rows.filter(pl.col("score") != "cost")
    students = rows.filter(pl.col("variant") != "teacher")
    assert set(students["score"]) == set(SCORES[1:])
    assert students.select("variant", "seed", "split", "score", "metric").is_unique().all()
    assert students.height == 4 * 2 * 2 * 3 * 9
    assert set(rows.filter(variant="teacher")["seed"]) == {0}


def test_an_untrained_student_has_an_empty_b(compared: Path) -> None:
    from safetensors.numpy import load_file

    from pipeline.config.location import store_of
    from pipeline.runner.plan import plan

    config = variant_config(load_comparison(compared / "compare.yaml"), "tiny", "zero_shot", 1, None)
    folder = store_of(config).path("distill", plan(config, "distill")[-1].key)
    weights = load_file(folder / "adapter/adapter_model.safetensors")
    assert all(not weight.any() for name, weight in weights.items() if "lora_B" in name)
    assert any(weight.any() for name, weight in weights.items() if "lora_A" in name)


def test_a_wrong_comparison_is_told_before_prefect_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr("flows.compare.run_comparison", lambda *_: started.append("") or "")
    gone = comparison_file(tmp_path, datasets={"tiny": "gone.yaml"})
    told = CliRunner().invoke(app, ["compare", str(gone), "-o", str(tmp_path / "out")])
    assert told.exit_code == 1
    assert "no such config" in told.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("not a folder", "utf-8")
    file = comparison_file(tmp_path)
    told = CliRunner().invoke(app, ["compare", str(file), "-o", str(tmp_path / "file")])
    assert told.exit_code == 1
    assert f"-o {tmp_path / 'file'}: is a file; name another folder" in told.stderr
    assert not started


def test_a_missing_input_of_a_dataset_is_told_before_prefect_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.local.quiet_prefect", lambda: pytest.fail("Prefect is started"))
    file = comparison_file(tmp_path)
    (tmp_path / "pairs.csv").unlink()
    result = CliRunner().invoke(app, ["compare", str(file), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert f"no such file: {tmp_path / 'pairs.csv'}" in result.stderr


def test_several_at_a_time_give_the_same_numbers(
    compared: Path, tmp_path: Path, prefect_server: None, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"seeds": [1], "only": ["flip", "sft"]}
    text = run_planned(load_comparison(comparison_file(tmp_path, **changes)), tmp_path / "out", jobs=2)
    assert "`flip`" in text
    assert "`sft`" in text
    said = capfd.readouterr().err
    for variant in ("flip", "sft"):  # two write to one terminal
        assert f"  tiny {variant} seed 1: distill: train the student\n" in said
    took = pl.col("metric").is_in(["seconds", "peak_memory_gb"])
    ours = pl.read_parquet(tmp_path / "out/comparison.parquet").filter(~took)
    theirs = pl.read_parquet(compared / "out/comparison.parquet").filter(
        pl.col("variant").is_in(["teacher", "flip", "sft"]) & pl.col("seed").is_in([0, 1]) & ~took
    )
    keys = ["dataset", "variant", "seed", "split", "score", "metric"]
    both = ours.join(theirs, on=keys, suffix="_one_by_one", validate="1:1")
    assert both.height == ours.height == theirs.height > 0
    # Another number of threads adds in another order.
    assert np.allclose(both["value"], both["value_one_by_one"], atol=1e-3)


def test_students_that_fail_are_named_and_the_others_made(tmp_path: Path, prefect_server: None) -> None:
    variants = {"sft": {"distill.objective": "sft"}, "broken": {"distill.sites.modules": ["no_such_layer"]}}
    config = load_comparison(comparison_file(tmp_path, seeds=[1], variants=variants))
    with pytest.raises(FlipkdError, match=r"(?s)1 of 2 students failed.*tiny, broken, seed 1: .*no_such_layer"):
        run_planned(config, tmp_path / "out", jobs=2)
    assert set(pl.read_parquet(tmp_path / "out/comparison.parquet")["variant"]) == {"teacher", "sft"}


def test_only_what_is_there(tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    one = load_comparison(comparison_file(tmp_path, seeds=[1], only=["sft"]))
    with pytest.raises(FlipkdError, match="none of these students is in the store"):
        run_planned(one, tmp_path / "out", there_only=True)
    run_planned(one, tmp_path / "out")
    calls: list[str] = []
    record_runs(monkeypatch, calls)
    both = load_comparison(comparison_file(tmp_path, seeds=[1, 2]))
    run_planned(both, tmp_path / "all", there_only=True)
    assert calls == []
    files = [pl.read_parquet(tmp_path / name / "comparison.parquet") for name in ("out", "all")]
    assert files[0].equals(files[1])
