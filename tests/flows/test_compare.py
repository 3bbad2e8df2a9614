"""A comparison end to end on tiny models: what is shared is computed once, and the numbers are scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import f1_score, roc_auc_score
from typer.testing import CliRunner

from data.errors import FlipkdError
from flows.compare import run_comparison
from pipeline.cli.main import app
from pipeline.comparison.config import CompareConfig, all_jobs, load_comparison, variant_config
from pipeline.comparison.statistics import MeasuredStudent, summarise
from pipeline.comparison.students import planned_students
from pipeline.comparison.view import markdown
from tests.tiny import tiny_config

SCORES = ("teacher", "decoder", "encoder", "fused")


def comparison_file(folder: Path, **changes: object) -> Path:
    config = tiny_config(folder).model_dump(mode="json", exclude_none=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config), "utf-8")
    settings: dict[str, object] = {
        "datasets": {"tiny": "tiny.yaml"},
        "variants": {
            "flip": {},
            "sft": {"distill.objective": "sft"},
            "zero_shot": {"distill.objective": "zero_shot"},
            "flip_hidden": {"distill.sites.read": "hidden", "distill.lora.last_layers": 1},
        },
        "seeds": [1, 2],
        "resamples": 300,
    }
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump(settings | changes), "utf-8")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    config = load_comparison(comparison_file(folder))
    with pytest.MonkeyPatch.context() as patch:
        calls: list[str] = []
        record_runs(patch, calls)
        run(config, folder / "out")
        (folder / "calls.json").write_text(json.dumps(calls), "utf-8")
    return folder


def run(comparison: CompareConfig, out: Path, **options: Any) -> str:
    return run_comparison(comparison, planned_students(all_jobs(comparison, None)), out, **options)


def record_runs(patch: pytest.MonkeyPatch, calls: list[str]) -> None:
    import pipeline.runner.execute

    run = pipeline.runner.execute._run

    def counted(step, config, store):  # type: ignore[no-untyped-def]
        calls.append(step.stage)
        run(step, config, store)

    patch.setattr(pipeline.runner.execute, "_run", counted)


def test_what_is_shared_is_computed_once(done: Path) -> None:
    calls = json.loads((done / "calls.json").read_text("utf-8"))
    assert {stage: calls.count(stage) for stage in dict.fromkeys(calls)} == {
        "prepare": 1, "teach": 1, "score": 1, "filter": 1, "distill": 8, "measure": 8,
    }  # fmt: skip


def test_it_goes_on_where_it_was(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    record_runs(monkeypatch, calls)
    before = pl.read_parquet(done / "out/comparison.parquet")
    run(load_comparison(comparison_file(done)), done / "again")
    assert calls == []
    assert pl.read_parquet(done / "again/comparison.parquet").equals(before)


def test_every_student_split_score_and_metric_has_a_row(done: Path) -> None:
    rows = pl.read_parquet(done / "out/comparison.parquet")
    assert rows.columns == ["dataset", "variant", "seed", "split", "score", "metric", "value"]
    assert set(rows["variant"]) == {"teacher", "flip", "sft", "zero_shot", "flip_hidden"}
    students = rows.filter(pl.col("variant") != "teacher")
    assert set(students["score"]) == set(SCORES[1:])
    assert students.select("variant", "seed", "split", "score", "metric").is_unique().all()
    assert students.height == 4 * 2 * 2 * 3 * 9
    assert set(rows.filter(variant="teacher")["seed"]) == {0}


def measured_folder(folder: Path, variant: str, seed: int) -> Path:
    from pipeline.config.location import store_of
    from pipeline.runner.plan import plan, side_step

    config = variant_config(load_comparison(folder / "compare.yaml"), "tiny", variant, seed, None)
    return store_of(config).path("measure", side_step("measure", config, plan(config, "distill")).key)


def measured(folder: Path, variant: str, seed: int) -> tuple[pl.DataFrame, dict[str, float]]:
    where = measured_folder(folder, variant, seed)
    thresholds = json.loads((where / "metrics.json").read_text("utf-8"))["thresholds"]
    return pl.read_parquet(where / "predictions.parquet").filter(split="test").sort("pair_id"), thresholds


def test_means_and_differences_against_scikit_learn(done: Path) -> None:
    summary = pl.read_parquet(done / "out/summary.parquet")
    found = {v: [measured(done, v, seed) for seed in (1, 2)] for v in ("flip", "sft")}

    def values(variant: str, score: str, rows: np.ndarray) -> list[tuple[float, float]]:
        out = []
        for pairs, thresholds in found[variant]:
            y, s = pairs["label"].to_numpy()[rows], pairs[score].to_numpy()[rows].astype(np.float64)
            out.append((f1_score(y, s >= thresholds[score]), float(roc_auc_score(y, s))))
        return out

    whole = np.arange(found["flip"][0][0].height)
    for score in SCORES[1:]:
        per_seed = np.array(values("flip", score, whole))
        for column, metric in enumerate(("f1", "auroc")):
            row = summary.filter(variant="flip", score=score, metric=metric, against="").row(0, named=True)
            assert row["mean"] == pytest.approx(per_seed[:, column].mean())
            assert row["deviation"] == pytest.approx(per_seed[:, column].std(ddof=1))
    generator, labels = np.random.default_rng(5), found["flip"][0][0]["label"].to_numpy()
    gaps = []
    while len(gaps) < 400:
        rows = generator.integers(0, len(whole), len(whole))
        if len(set(labels[rows])) == 2:
            ours, theirs = (np.array(values(v, "decoder", rows))[:, 1].mean() for v in ("flip", "sft"))
            gaps.append(ours - theirs)
    row = summary.filter(variant="flip", score="decoder", metric="auroc", against="sft").row(0, named=True)
    low, high = np.percentile(gaps, (2.5, 97.5))
    width = high - low
    assert row["low"] == pytest.approx(low, abs=0.25 * width)
    assert row["high"] == pytest.approx(high, abs=0.25 * width)


def test_an_untrained_student_has_an_empty_b(done: Path) -> None:
    from safetensors.numpy import load_file

    from pipeline.config.location import store_of
    from pipeline.runner.plan import plan

    config = variant_config(load_comparison(done / "compare.yaml"), "tiny", "zero_shot", 1, None)
    folder = store_of(config).path("distill", plan(config, "distill")[-1].key)
    weights = load_file(folder / "adapter/adapter_model.safetensors")
    assert all(not weight.any() for name, weight in weights.items() if "lora_B" in name)
    assert any(weight.any() for name, weight in weights.items() if "lora_A" in name)


def test_the_tables_name_every_variant_and_the_figure_is_one(done: Path) -> None:
    text = (done / "out/comparison.md").read_text("utf-8")
    assert text.startswith("## tiny\n")
    assert all(f"| `{variant}` |" in text for variant in ("flip", "sft", "zero_shot", "flip_hidden"))
    assert (done / "out/comparison.png").read_bytes().startswith(b"\x89PNG")


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


def test_a_variant_that_lacks_seeds_is_compared_on_those_it_has(done: Path) -> None:
    """As where a run was stopped: flip has both seeds, sft the second alone."""
    found = {v: [measured(done, v, seed) for seed in (1, 2)] for v in ("flip", "sft")}
    folders = {v: [measured_folder(done, v, seed) for seed in (1, 2)] for v in ("flip", "sft")}
    students = [
        MeasuredStudent("tiny", "flip", seed, folder) for seed, folder in zip((1, 2), folders["flip"], strict=True)
    ]
    students.append(MeasuredStudent("tiny", "sft", 2, folders["sft"][1]))
    summary = summarise(students, "sft", count=100, seed=0)

    def auroc(variant: str, seed: int) -> float:
        pairs = found[variant][seed - 1][0]
        return float(roc_auc_score(pairs["label"], pairs["encoder"]))

    encoder = summary.filter(score="encoder", metric="auroc")
    mean = encoder.filter(variant="flip", against="").row(0, named=True)
    assert (mean["seeds"], mean["mean"]) == (2, pytest.approx((auroc("flip", 1) + auroc("flip", 2)) / 2))
    gap = encoder.filter(variant="flip", against="sft").row(0, named=True)
    assert (gap["seeds"], gap["mean"]) == (1, pytest.approx(auroc("flip", 2) - auroc("sft", 2)))
    assert gap["low"] <= gap["mean"] <= gap["high"]
    text = markdown(summary, "sft")
    assert "| `sft` (1 of 2 seeds) |" in text
    assert "| `flip` |" in text


def test_several_at_a_time_give_the_same_numbers(
    done: Path, tmp_path: Path, prefect_server: None, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"seeds": [1], "only": ["flip", "sft"]}
    text = run(load_comparison(comparison_file(tmp_path, **changes)), tmp_path / "out", jobs=2)
    assert "`flip`" in text
    assert "`sft`" in text
    said = capfd.readouterr().err
    for variant in ("flip", "sft"):  # two write to one terminal
        assert f"  tiny {variant} seed 1: distill: train the student\n" in said
    ours = pl.read_parquet(tmp_path / "out/comparison.parquet")
    theirs = pl.read_parquet(done / "out/comparison.parquet").filter(
        pl.col("variant").is_in(["teacher", "flip", "sft"]) & pl.col("seed").is_in([0, 1])
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
        run(config, tmp_path / "out", jobs=2)
    assert set(pl.read_parquet(tmp_path / "out/comparison.parquet")["variant"]) == {"teacher", "sft"}


def test_only_what_is_there(tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    one = load_comparison(comparison_file(tmp_path, seeds=[1], only=["sft"]))
    with pytest.raises(FlipkdError, match="none of these students is in the store"):
        run(one, tmp_path / "out", there_only=True)
    run(one, tmp_path / "out")
    calls: list[str] = []
    record_runs(monkeypatch, calls)
    both = load_comparison(comparison_file(tmp_path, seeds=[1, 2]))
    run(both, tmp_path / "all", there_only=True)
    assert calls == []
    files = [pl.read_parquet(tmp_path / name / "comparison.parquet") for name in ("out", "all")]
    assert files[0].equals(files[1])
