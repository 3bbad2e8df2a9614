"""What README shows runs as it stands there, word for word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from tests.checkout import ROOT
from tests.tiny import tiny_config, tiny_faq

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def merged(below: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    nested = {key: merged(below[key], value) for key, value in over.items() if isinstance(below.get(key), dict)}
    return below | over | nested


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    """Where a reader stands: `questions.csv`, README's config over tiny models in `faq.yaml`, and a store."""
    folder = tmp_path_factory.mktemp("reader")
    tiny_faq(folder / "faq.csv")
    head, rest = (folder / "faq.csv").read_text(encoding="utf-8").split("\n", 1)
    assert head == "question,title,label"
    (folder / "questions.csv").write_text(f"question,faq_title,label\n{rest}", encoding="utf-8")
    config = tiny_config(folder / "models").model_dump(mode="json", exclude_unset=True) | {"store": ".flipkd"}
    shown = yaml.safe_load(blocks("yaml")[0])
    (folder / "faq.yaml").write_text(yaml.safe_dump(merged(config, shown)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The same, after the block that runs the pipeline; its run stands under `demo` too, `student` beside it."""
    (program,) = [block for block in blocks("python") if "flipkd.run" in block]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(program, "README.md", "exec"), {})  # noqa: S102  our own page
    latest = folder / ".flipkd" / "latest"
    (latest / "demo").symlink_to(latest / "faq")
    (folder / "student").symlink_to(latest / "faq" / "export" / "student")
    return folder


def test_every_block_is_covered() -> None:
    assert {block.split("\n", 1)[0] for block in blocks("[a-z]+")} == {
        "prepare:", "-- duckdb", "import pandas as pd", "SELECT query, entry, teacher_score FROM "
        "'.flipkd/latest/faq/score/candidates.parquet'", "from sentence_transformers import SentenceTransformer",
        "from sentence_transformers import CrossEncoder", "datasets: {mqp: mqp.yaml}          # configs of the "
        "pipeline; `demo` is one", "import flipkd",
    }  # fmt: skip


@pytest.mark.parametrize("query", blocks("sql"))
def test_duckdb(run: Path, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    found: Any = duckdb.sql(query)
    assert found.columns[:2] in (["text_a", "text_b"], ["query", "entry"])
    assert found.fetchall()


def test_polars_and_pandas(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = [block for block in blocks("python") if "pd.read_parquet" in block]
    monkeypatch.chdir(run)
    lines = program.strip().split("\n")
    names: dict[str, Any] = {}
    exec("\n".join(lines[:-1]), names)  # noqa: S102  our own page
    described = eval(lines[-1], names)  # noqa: S307
    assert set(described.index.get_level_values("split")) == {"train", "dev", "test"}
    assert described["count"].sum() == 144


def test_the_student_and_the_reranker(run: Path) -> None:
    """In a process of their own, in which the student's code may run."""
    from pipeline.stages.export.reranker import export_reranker

    export_reranker(run / "student", run / "reranker")
    for name in ("SentenceTransformer", "CrossEncoder"):
        (program,) = [block for block in blocks("python") if f"import {name}" in block]
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=run, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_a_comparison(folder: Path) -> None:
    from pipeline.comparison.config import load_comparison

    (folder / "mqp.yaml").write_text((folder / "faq.yaml").read_text("utf-8"), "utf-8")
    (folder / "compare.yaml").write_text(blocks("yaml")[1], "utf-8")
    found = load_comparison(folder / "compare.yaml")
    assert found.seeds == [1, 2, 3]
    assert {"sft", "flip", "flip_rank_64"} <= set(found.all_variants)


def test_every_command_of_the_table_is_there_with_its_options() -> None:
    from typer.main import get_command

    from pipeline.cli.main import app

    known: Any = get_command(app)
    rows = re.findall(r"^\| `flipkd ([^|]*)\| ", README, re.MULTILINE)
    assert len(rows) > 15
    for row in rows:
        command = known
        for word in re.match(r"[a-z -]+", row)[0].split():  # pyright: ignore[reportOptionalSubscript]
            command = command.commands[word]
        options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row)) <= options, row


def test_the_notebook(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells one after the other; those shown with a result were run on the demo."""
    import json

    import matplotlib as mpl

    mpl.use("Agg")
    book = json.loads((ROOT / "docs" / "scores.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 7
    assert all(cell["outputs"] for cell in cells)
    monkeypatch.chdir(run)
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), "scores.ipynb", "exec"), names)  # noqa: S102  our own page
    assert names["found"].keys() == {"train", "dev", "test"}
    assert names["told"].height > 0
