"""The model card: its figures are those of `metrics.json`, its metadata what the hub's library reads."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pipeline.stages.export.card import write_card
from pipeline.store.manifest import Manifest, read_manifest


@pytest.fixture(scope="module")
def exported(tiny_run: Path) -> Path:
    return next(path.parent for path in (tiny_run / "store/artifacts/export").glob("*/manifest.json"))


def test_its_figures_are_those_of_the_metrics(exported: Path) -> None:
    card = ModelCard((exported / "student/README.md").read_text("utf-8"))
    metrics = json.loads((exported / "metrics.json").read_text("utf-8"))
    split = "test"
    for score, rows in metrics["splits"][split].items():
        cells = [
            cell.strip() for cell in re.findall(rf"^\| {score} \|(.*)\|$", card.text, re.MULTILINE)[0].split("|")
        ]
        assert [float(cell.partition(" ")[0]) for cell in cells] == [
            pytest.approx(rows[metric]["value"], abs=5e-4) for metric in ("f1", "accuracy", "auroc")
        ] + [pytest.approx(metrics["thresholds"][score], abs=5e-4)]
    data = card.data.to_dict()
    told = {each["name"]: each["value"] for each in data["model-index"][0]["results"][0]["metrics"]}
    assert told["AUROC (fused)"] == metrics["splits"][split]["fused"]["auroc"]["value"]
    assert data["pipeline_tag"] == "sentence-similarity"
    assert data["library_name"] == "sentence-transformers"
    assert "license" not in data  # the tiny base has none
    assert "not said where it came from" in card.text
    assert "nan" not in card.text.lower().split()


def test_it_says_how_to_use_the_student_and_whence_it_came(exported: Path) -> None:
    text = (exported / "student/README.md").read_text("utf-8")
    assert 'SentenceTransformer("student", trust_remote_code=True)' in text
    assert f"flipkd lineage {exported.name}" in text
    assert "Of each text it reads" in text


def test_names_cannot_break_it(exported: Path, tmp_path: Path) -> None:
    student = tmp_path / "student"
    student.mkdir()
    for name in ("README.md", "student.json"):
        shutil.copy(exported / "student" / name, student)
    metrics = json.loads((exported / "metrics.json").read_text("utf-8"))
    artifacts = exported.parent.parent
    manifests = {
        stage: read_manifest(artifacts / stage / key)
        for stage, key in metrics["artifacts"].items()
        if stage != "export"
    }
    prepare = manifests["prepare"].model_dump()
    prepare["summary"]["sources"]["pairs"] = {"a`b|c\n# A heading\n": 3}
    write_card(student, "x\n---\nlicense: mit", metrics, "test", manifests | {"prepare": Manifest(**prepare)})
    card = ModelCard((student / "README.md").read_text("utf-8"))
    assert "\n# A heading" not in card.text
    assert r"a`b\|c\n# A heading\n" in card.text
    assert "license" not in card.data.to_dict()
