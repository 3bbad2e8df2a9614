"""The commands `promote`, `rollback` and `promoted`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.config.location import store_of
from pipeline.promotion.history import history
from pipeline.promotion.link import in_use, link_of
from pipeline.runner.plan import plan
from pipeline.store.store import Store
from tests.students import add_run, scored_pairs
from tests.tiny import tiny_config


def flipkd(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def config(tmp_path: Path, store: Store) -> str:
    """A config whose files need not be there."""
    path = tmp_path / "config.yaml"
    settings = {
        "store": str(store.root),
        "prepare": {"inputs": [{"kind": "pairs", "path": "none.csv"}]},
        "export": {"bootstrap": 100},
        "promote": {"name": "default"},
    }
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def students(store: Store) -> list[str]:
    """A middling, a good and a bad one."""
    return [add_run(store, scored_pairs(100, 1, quality), name=str(quality)) for quality in (2.0, 3.0, 1.0)]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "promote",
            ["CONFIG", "--key", "--dry-run", "--force", "--reason", "--set", "Examples", "current/NAME/st"],
        ),
        ("rollback", ["CONFIG", "--key", "--reason", "--set", "Examples"]),
        ("promoted", ["CONFIG", "-n", "--set", "Examples"]),
    ],
)
def test_help(command: str, words: list[str]) -> None:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", flipkd(command, "--help").output)
    assert [word for word in words if word.lower() not in plain.lower()] == []


def test_promote_refuse_roll_back_and_look(config: str, store: Store) -> None:
    middling, good, bad = students(store)
    result = flipkd("promote", config, "--key", middling)
    assert (result.exit_code, result.output) == (0, "default: promoted: no student was in use before\n")
    result = flipkd("promote", config, "--key", good, "--dry-run")
    assert result.exit_code == 0
    assert result.output.startswith("default: fit for promotion (`flipkd promote`): fused AUROC 0.")
    assert in_use(store) == middling
    assert flipkd("promote", config, "--key", good).exit_code == 0
    result = flipkd("promote", config, "--key", good)
    assert (result.exit_code, result.output) == (0, "default: nothing to do: it is in use already\n")
    result = flipkd("promote", config, "--key", bad)
    assert result.exit_code == 1
    assert result.output.startswith("default: not promoted: fused AUROC 0.")
    assert result.output.endswith("worse by more than the tolerance of 0.01\n")
    assert flipkd("promote", config, "--key", bad, "--set", "promote.tolerance=1", "--dry-run").exit_code == 0
    assert flipkd("promote", config, "--key", bad, "--force", "--reason", "a trial").exit_code == 0
    assert in_use(store) == bad

    result = flipkd("rollback", config, "--reason", "the trial is over")
    assert (result.exit_code, result.output) == (0, f"default: rolled back to {good} from {bad}\n")
    shown = flipkd("promoted", config).output
    assert shown.startswith(f"in use: {good} ({link_of(store)})\nbefore: {middling}\n")
    for words in ("not promoted", "promoted by force", "rolled back", "the trial is over", "a trial"):
        assert words in shown
    assert flipkd("rollback", config).exit_code == 0
    assert in_use(store) == middling
    result = flipkd("rollback", config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no student was in use before, so there is none to return to" in result.stderr


def test_names_come_from_the_config(config: str, store: Store) -> None:
    key = students(store)[0]
    assert flipkd("promote", config, "--key", key, "--set", "promote.name=faq").exit_code == 0
    assert in_use(store, "faq") == key
    assert flipkd("promoted", config).output == f"in use: none ({link_of(store)})\nbefore: none\n"


def test_an_interrupted_promotion_is_shown(config: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    middling, good, _ = students(store)
    flipkd("promote", config, "--key", middling)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.promotion.link.point", lambda *_: None)
        flipkd("promote", config, "--key", good)
    shown = flipkd("promoted", config).output
    assert "interrupted" in shown
    assert f"in use: {middling}" in shown


@pytest.mark.parametrize(
    "options",
    [["--force"], ["--reason", "x"], ["--force", "--reason", " "], ["--force", "--reason", "x", "--dry-run"]],
)
def test_force_needs_a_reason(config: str, store: Store, options: list[str]) -> None:
    result = flipkd("promote", config, "--key", students(store)[0], *options)
    assert result.exit_code == 2
    assert "give --force and --reason TEXT together" in re.sub(r"[│\s]+", " ", result.output)
    assert in_use(store) is None


def test_a_key_that_is_not_there(config: str, store: Store) -> None:
    for key in ("0" * 20, "../../etc", ""):
        result = flipkd("promote", config, "--key", key)
        assert (result.exit_code, result.stderr) == (
            1,
            f"Error: no export {key} in {store.root}: there is none at all\n",
        )
    first, *_ = students(store)
    told = flipkd("promote", config, "--key", "0" * 20).stderr
    assert f"no export {'0' * 20}" in told
    assert first in told


def test_the_student_of_a_config(tiny_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_run, tmp_path / "copy")
    settings = tiny_config(folder)
    path = folder / "nightly.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_none=True)))
    assert flipkd("promote", str(path)).exit_code == 0
    store = store_of(settings)
    assert in_use(store, "nightly") == plan(settings)[-1].key
    result = flipkd("promote", str(path), "--set", "distill.epochs=3")
    assert result.exit_code == 1
    assert f"the config's student is not there yet: flipkd run {path} --set distill.epochs=3" in result.stderr
    assert len(history(store, "nightly")) == 1
