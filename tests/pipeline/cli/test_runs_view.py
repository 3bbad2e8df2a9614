"""`flipkd runs` in a terminal."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.runs_view import runs_table, stages_line
from pipeline.runner.runs import runs
from pipeline.store.store import Store
from tests.stores import put_chain, put_run
from tests.terminal import cells


def test_a_run_is_a_row_and_a_damaged_one_says_why(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    put_run(store, "one", chain, age_days=1)
    put_run(store, "two", {}, age_days=2, ended=False)
    (tmp_path / "runs/three.json").write_text("{", "utf-8")
    found = {run.id: run for run in runs(store)}
    assert stages_line(found["two"]) == "0 planned"
    assert stages_line(found["three"]) == ""
    rows = [row for row in cells(runs_table(list(found.values())), 300) if row[0]]
    by_state = {row[1]: row for row in rows}
    assert set(by_state) == {"completed", "crashed", "damaged"}
    assert by_state["completed"][4] == chain["export"][1]
    assert by_state["damaged"][0] == "three"
    assert "three.json" in by_state["damaged"][5]
