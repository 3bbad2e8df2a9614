"""A new stage is a folder and one line: `tally/` beside this file, and its name among the stages.

Nothing else knows it, and it is planned, run as a task, found again, shown, traced, verified and kept like any
other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from flows.flip import flip
from pipeline.cli.main import app
from pipeline.config.load import load_config
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.stages import registry
from tests.flows.tally.stage import STAGE
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.STAGES, "tally", STAGE)  # the one line
        yield


@pytest.fixture(scope="module")
def file(registered: None, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with a section for the new stage, run once through the real flow."""
    folder = tmp_path_factory.mktemp("tally")
    settings = tiny_config(folder).model_dump(mode="json", exclude_none=True) | {"tally": {"shortest": 4}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    flip(load_config(path))
    return path


def output(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


def artifact(path: Path) -> Path:
    config = load_config(path)
    return store_of(config).path("tally", plan(config)[-1].key)


def test_it_has_run_on_its_own_section(file: Path) -> None:
    kept = pl.read_parquet(next((file.parent / "store/artifacts/filter").glob("*/filtered.parquet"))).filter(
        "kept"
    )
    words = [w for side in ("text_a", "text_b") for text in kept[side] for w in text.split(" ") if len(w) >= 4]
    counted = dict(pl.read_parquet(artifact(file) / "words.parquet").iter_rows())
    assert counted == Counter(words)
    manifest = json.loads((artifact(file) / "manifest.json").read_text("utf-8"))
    assert (manifest["stage"], manifest["config"], manifest["seed"]) == ("tally", {"shortest": 4}, 0)
    assert manifest["summary"] == {"words": len(counted)}


def test_it_is_cached_in_the_next_run_and_runs_again_with_another_setting(file: Path) -> None:
    before = (artifact(file) / "manifest.json").stat().st_mtime_ns
    flip(load_config(file))
    assert (artifact(file) / "manifest.json").stat().st_mtime_ns == before
    changed = load_config(file).model_copy(update={"tally": STAGE.section.model_validate({"shortest": 6})})
    flip(changed)
    assert len(list((file.parent / "store/artifacts/tally").glob("[!.]*"))) == 2
    assert len(list((file.parent / "store/artifacts/export").glob("[!.]*"))) == 1


def test_status_shows_it(file: Path) -> None:
    line = next(line for line in output("status", file).splitlines() if "tally" in line)
    assert "cached" in line
    assert "different words" in line


def test_lineage_traces_it(file: Path) -> None:
    shown = json.loads(output("lineage", f"tally/{artifact(file).name}", file, "--json"))
    assert [name.partition("/")[0] for name in shown["artifacts"]][:2] == ["tally", "filter"]
    filtered = next(name for name in shown["artifacts"] if name.startswith("filter/"))
    assert f"tally/{artifact(file).name}" in json.loads(output("lineage", filtered, file, "--json"))["used_by"]


def test_verify_checks_it(file: Path) -> None:
    assert "all as they were written" in output("verify", file)
    words = artifact(file) / "words.parquet"
    whole = words.read_bytes()
    words.write_bytes(whole[:-1] + b"?")
    result = CliRunner().invoke(app, ["verify", str(file)])
    words.write_bytes(whole)
    assert result.exit_code == 1
    assert f"tally/{artifact(file).name}" in result.output


def test_gc_keeps_it_for_its_config_and_removes_what_nobody_needs(file: Path) -> None:
    output("gc", file, "--keep-days", "0", "--delete")
    assert [path.name for path in (file.parent / "store/artifacts/tally").glob("[!.]*")] == [artifact(file).name]
