"""The command line, in processes of its own where that matters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import pipeline.cli.main
from pipeline.cli.main import app
from tests.checkout import ROOT
from tests.tiny import tiny_config

HEAVY = ("torch", "transformers", "prefect", "polars", "pydantic", "numpy", "sentence_transformers")


@pytest.fixture(scope="module")
def config(tiny_run: Path) -> str:
    """A config file of a finished run."""
    path = tiny_run / "config.yaml"
    settings = tiny_config(tiny_run).model_dump(mode="json", exclude_none=True)
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return str(path)


def flipkd(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


# ---------------------------------------------------------------------------------------------------- help


def test_help_loads_nothing_heavy() -> None:
    """That is what makes it fast; how fast, `benchmarks/startup.py` measures."""
    code = f"""
        import sys
        from pipeline.cli.main import app
        try:
            app(["--help"])
        except SystemExit as done:
            assert done.code == 0
        sys.exit(",".join(name for name in {HEAVY} if name in sys.modules) or 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["run", "demo", "init", "status", "predict", "scores", "--debug", "Examples"]),
        (["run"], ["CONFIG", "--until", "--refresh", "--set", "prepare|teach|score", "Examples"]),
        (["demo"], ["--set", "Examples"]),
        (["init"], ["PATH"]),
        (["status"], ["CONFIG", "--set"]),
        (["predict"], ["STUDENT", "PAIRS", "--out", "-o", "--text-a", "--text-b"]),
        (["scores", "show"], ["CONFIG", "--where", "--sort", "-n", "-o", "teacher_score < 0.4"]),
        (["scores", "describe"], ["CONFIG", "--set"]),
    ],
)
def test_help_is_complete(command: list[str], words: list[str]) -> None:
    result = flipkd(*command, "--help")
    assert result.exit_code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    assert [word for word in words if word.lower() not in plain.lower()] == []


# -------------------------------------------------------------------------------------------------- errors


def test_a_wrong_config_is_one_message_and_exit_code_1(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("prepare: {inputs: [{kind: pairs, path: x.csv}]}\nfilter: {tau_pos: 2}\n", encoding="utf-8")
    result = flipkd("run", str(path))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "filter.tau_pos: 2 is not allowed" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "demo", "--until", "end"],
        ["run", "demo", "--refresh", "fliter"],
        ["rum"],
        ["scores", "sort"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert flipkd(*arguments).exit_code == 2


def test_ctrl_c_is_one_line_and_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.cli.main, "_run", interrupted)
    result = flipkd("demo")
    assert result.exit_code == 130
    assert len(result.stderr.splitlines()) == 1


WATCH = """
import os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.sendto"):
        line = args[1]
    elif event == "socket.getaddrinfo":
        line = (args[0], args[1])
    else:
        return
    with open(os.environ["FLIPKD_TEST_CONNECTIONS"], "a") as file:
        file.write(repr(line[0] if isinstance(line, tuple) else line) + "\\n")
sys.addaudithook(watch)
"""


def test_a_failing_stage_is_one_message_and_nothing_leaves_the_machine(tiny_run: Path, tmp_path: Path) -> None:
    """The embedded server, as a user without Prefect meets it. All its processes' connections are watched."""
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text_a,text_b,label\na,,1\nb,,0\n", encoding="utf-8")
    connections = tmp_path / "connections"
    settings = tiny_config(tiny_run, prepare={"inputs": [{"kind": "pairs", "path": str(pairs)}]})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "hooks"), str(ROOT)]),
        "FLIPKD_TEST_CONNECTIONS": str(connections),
        "FLIPKD_HOME": str(tmp_path / "store"),
    }
    code = "from pipeline.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(path), "--set", "store=null", "--until", "prepare"],
        check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Error: ") == 1
    assert "\nError: " in done.stderr
    assert "Prefect" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    reached = {line.strip("'\n") for line in connections.open(encoding="utf-8")}
    assert "127.0.0.1" in reached
    assert reached <= {"127.0.0.1", "localhost", "::1", "b'localhost", "b'127.0.0.1", "None"}


# ------------------------------------------------------------------------------------------------ commands


def test_run_ends_with_table_examples_and_paths(config: str, prefect_server: None) -> None:
    result = flipkd("run", config)
    assert result.exit_code == 0, result.output
    for word in ("F1", "accuracy", "AUROC", "teacher", "decoder", "encoder", "fused", "report.html", "student"):
        assert word in result.stdout
    assert re.search(r"0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)", result.stdout)
    until = flipkd("run", config, "--until", "score")
    assert "scores.parquet" in until.stdout
    assert "report.html" not in until.stdout


def test_status(config: str) -> None:
    result = flipkd("status", config)
    assert result.exit_code == 0
    assert result.stdout.count("cached") == 6
    changed = flipkd("status", config, "--set", "filter.tau_pos=0.9")
    assert changed.stdout.count("cached") == 3
    assert changed.stdout.count("not there") == 3


def test_init(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    assert flipkd("init", str(path)).exit_code == 0
    assert path.exists()
    assert flipkd("init", str(path)).exit_code == 1


def test_scores_show_writes_what_the_condition_says(config: str, tmp_path: Path) -> None:
    everything = tmp_path / "all.parquet"
    assert flipkd("scores", "show", config, "-o", str(everything)).exit_code == 0
    table = pl.read_parquet(everything)
    assert table.height == 80
    for ending, read in ((".csv", pl.read_csv), (".jsonl", pl.read_ndjson), (".parquet", pl.read_parquet)):
        out = tmp_path / f"out{ending}"
        where = "label = 1 AND teacher_score > 0.5"
        result = flipkd("scores", "show", config, "--where", where, "--sort", "-teacher_score", "-o", str(out))
        assert result.exit_code == 0, result.output
        found = read(out)
        wanted = table.filter((pl.col("label") == 1) & (pl.col("teacher_score") > 0.5))
        wanted = wanted.sort(["teacher_score", "pair_id"], descending=[True, False])
        assert found["pair_id"].to_list() == wanted["pair_id"].to_list()
        assert found.columns == table.columns
    assert flipkd("scores", "show", config, "-o", str(tmp_path / "out.xlsx")).exit_code == 1


def test_scores_show_in_the_terminal(config: str) -> None:
    result = flipkd("scores", "show", config, "-n", "3", "--sort", "teacher_score")
    assert result.exit_code == 0
    assert "teacher_score" in result.stdout
    assert len(re.findall(r"│ pairs\.csv", result.stdout)) == 3
    assert "no row" in flipkd("scores", "show", config, "--where", "label = 7").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--where", "lable = 1"], "lable"),
        (["--where", "label = = 1"], "--where"),
        (["--where", "label = 1; DROP TABLE scores"], "--where"),
        (["--where", "text_a + 1 > 2"], "--where"),
        (["--where", "label = 1) UNION (SELECT * FROM scores"], "--where"),
        (["--where", "1"], "--where"),
        (["--sort", "score"], "teacher_score"),
    ],
)
def test_scores_show_explains_a_wrong_condition(config: str, options: list[str], said: str) -> None:
    result = flipkd("scores", "show", config, *options)
    assert result.exit_code == 1, result.output
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_scores_describe(config: str) -> None:
    result = flipkd("scores", "describe", config)
    assert result.exit_code == 0
    assert "median" in result.stdout
    assert "beyond" in result.stdout
    assert re.search(r"tau_pos 0\.\d{3}, tau_neg 0\.\d{3}", result.stdout)


def test_damaged_scores_are_told(config: str, tmp_path: Path) -> None:
    store = shutil.copytree(Path(config).parent / "store", tmp_path / "store")
    file = next((store / "artifacts" / "filter").glob("*/filtered.parquet"))
    file.write_bytes(file.read_bytes()[:500])
    for command in (["show"], ["describe"]):
        result = flipkd("scores", *command, config, "--set", f"store={store}")
        assert result.exit_code == 1
        assert "filtered.parquet has 500 bytes instead of" in result.stderr
        assert "Traceback" not in result.output


def test_scores_before_a_run_tell_what_to_do(config: str, tmp_path: Path) -> None:
    result = flipkd("scores", "describe", config, "--set", f"store={tmp_path}")
    assert result.exit_code == 1
    assert "--until filter" in result.stderr
