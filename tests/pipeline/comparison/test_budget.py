"""Equal cost: who costs less is trained again for as much; the best of its three on dev is compared."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import polars as pl
import pytest
import yaml

from data.errors import FlipkdError
from pipeline.comparison.budget import best_on_dev, cost, equal_jobs
from pipeline.comparison.config import CompareConfig, all_jobs, load_comparison
from pipeline.comparison.students import PlannedStudent, planned_students
from pipeline.store.manifest import read_manifest
from tests.comparisons import record_runs, run_planned
from tests.tiny import WORDS, tiny_config


def _utterances(path: Path, ids: int = 8, texts: int = 12) -> Path:
    """Texts of an id share two words."""
    words = [word for word in WORDS.split() if len(word) > 2]
    draw = random.Random(3)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "id"])
        for number in range(ids):
            own = words[2 * number : 2 * number + 2]
            rows.writerows((" ".join([*own, *draw.sample(words, 3)]), number) for _ in range(texts))
    return path


def _file(folder: Path, **changes: object) -> Path:
    prepare = {
        "inputs": [{"kind": "utterances", "path": str(_utterances(folder / "texts.csv"))}],
        "splitting": {"by": "text", "dev": 0.25, "test": 0.25},
        "pairs": {"encoder": str(folder / "teacher"), "positives_per_id": 3},
    }
    config = tiny_config(folder, prepare=prepare)
    config = config.model_copy(update={"distill": config.distill.model_copy(update={"text_epochs": 1.0})})
    written = config.model_dump(mode="json", exclude_none=True, exclude_unset=False)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(written), "utf-8")
    asked: dict[str, object] = {
        "datasets": {"tiny": "tiny.yaml"}, "seeds": [1, 2], "resamples": 100, "budget": "equal",
        "variants": {"flip": {"distill.epochs": 3}, "sft": {"distill.objective": "sft"}},
    }  # fmt: skip
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump(asked | changes), "utf-8")
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Path, CompareConfig]:
    folder = tmp_path_factory.mktemp("budget")
    comparison = load_comparison(_file(folder))
    run_planned(comparison, folder / "out")
    return folder, comparison


def _students(comparison: CompareConfig) -> list[PlannedStudent]:
    return planned_students(all_jobs(comparison, None))


def test_they_cost_as_much_as_the_dearest(compared: tuple[Path, CompareConfig]) -> None:
    folder, comparison = compared
    rows = pl.read_parquet(folder / "out/comparison.parquet")
    assert set(rows["variant"]) >= {"flip", "sft", "sft_equal", "sft_fresh"}
    assert not {"flip_equal", "flip_fresh"} & set(rows["variant"])  # the dearest itself
    more = {(s.variant, s.seed): s for s in planned_students(equal_jobs(comparison, _students(comparison)))}
    assert set(more) == {(f"sft_{kind}", seed) for kind in ("equal", "fresh") for seed in (1, 2)}
    by = {(s.variant, s.seed): s for s in _students(comparison)}
    for seed in (1, 2):
        dearest = cost(by["flip", seed])
        distilled = read_manifest(by["flip", seed].store.path("distill", by["flip", seed].steps[-2].key)).summary
        assert dearest > distilled["cost"]["tokens"]  # its teacher counts
        for kind in ("equal", "fresh"):
            assert cost(more[f"sft_{kind}", seed]) == pytest.approx(dearest, rel=0.15)  # whole batches
        assert cost(by["sft", seed]) < 0.9 * dearest


def test_fresh_pairs_are_as_many_a_pass_and_others_each_time(compared: tuple[Path, CompareConfig]) -> None:
    _, comparison = compared
    students = _students(comparison)
    (fresh,) = (
        s for s in planned_students(equal_jobs(comparison, students)) if (s.variant, s.seed) == ("sft_fresh", 1)
    )
    (sft,) = (s for s in students if (s.variant, s.seed) == ("sft", 1))

    def pairs(student: PlannedStudent) -> pl.DataFrame:
        (prepare,) = (step for step in student.steps if step.stage == "prepare")
        return pl.read_parquet(student.store.path("prepare", prepare.key) / "pairs.parquet")

    mine, theirs = pairs(fresh), pairs(sft)
    assert mine.filter(split="train").height > theirs.filter(split="train").height
    assert mine.filter(pl.col("split") != "train").equals(theirs.filter(pl.col("split") != "train"))
    count = fresh.config.distill.pairs
    assert count is not None
    assert count.count == read_manifest(sft.store.path("distill", sft.steps[-2].key)).summary["pairs"]
    assert count.drawn == "each_epoch"


def test_the_best_of_the_three_on_dev_is_what_others_are_compared_with(
    compared: tuple[Path, CompareConfig],
) -> None:
    folder, comparison = compared
    students = [*_students(comparison), *planned_students(equal_jobs(comparison, _students(comparison)))]
    chosen = best_on_dev(students, "sft")
    on_dev: dict[str, list[float]] = {}
    for name in ("sft", "sft_equal", "sft_fresh"):
        mine = [
            json.loads((s.folder / "metrics.json").read_text())["splits"]["dev"]
            for s in students
            if s.variant == name
        ]
        on_dev[name] = [
            sum(m[score]["f1"]["value"] for m in mine) / len(mine) for score in ("decoder", "encoder", "fused")
        ]
    assert max(on_dev[chosen]) == max(max(values) for values in on_dev.values())
    summary = pl.read_parquet(folder / "out/summary.parquet")
    assert set(summary["against"]) == {"", "teacher", chosen}
    assert f"best - {chosen}'s best" in (folder / "out/comparison.md").read_text("utf-8")


def test_it_goes_on_where_it_was(compared: tuple[Path, CompareConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, comparison = compared
    calls: list[str] = []
    record_runs(monkeypatch, calls)
    run_planned(comparison, folder / "again")
    run_planned(comparison, folder / "there", there_only=True)
    assert calls == []
    before = pl.read_parquet(folder / "out/comparison.parquet")
    assert pl.read_parquet(folder / "again/comparison.parquet").equals(before)
    assert pl.read_parquet(folder / "there/comparison.parquet").equals(before)


def test_names_that_it_makes_are_taken(tmp_path: Path) -> None:
    variants = {"sft": {}, "sft_equal": {}}
    with pytest.raises(FlipkdError, match="budget makes sft_equal itself; give yours another name"):
        load_comparison(_file(tmp_path, variants=variants))
