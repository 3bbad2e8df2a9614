"""`flipkd runs` in a terminal."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.runs_view import runs_table, stages_line
from pipeline.runner.runs import Run, RunRecord, runs
from pipeline.store.store import Store
from tests.stores import put_chain, put_run
from tests.terminal import cells, shown


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
    assert by_state["completed"][4].endswith(f"export {chain['export'][1]}")
    assert by_state["damaged"][0] == "three"
    assert "three.json" in by_state["damaged"][4]


def made(name: str, state: str, error: str | None = None, **filter: object) -> Run:
    record = RunRecord.model_validate(
        {"id": "x", "started": "2026-11-30T01:02:03+00:00", "flipkd": "0.1", "pid": 1, "steps": {}, "state": state,
         "error": error, "seconds": 3.0, "config": {"promote": {"name": name}, "filter": filter}}
    )  # fmt: skip
    return Run("x", Path("x"), record.state or "crashed", record, 0.0)


def test_the_newest_is_first_and_tells_what_had_changed() -> None:
    found = [
        made("faq", "completed", tau_pos={"value": None, "quantile": 0.05}),
        made("bank", "completed", tau_pos={"value": 0.1, "quantile": None}),
        made("faq", "failed", "KeyboardInterrupt", tau_pos={"value": 0.7, "quantile": None}),
    ]
    rows = [row for row in cells(runs_table(found, 2), 80) if row[0]]
    assert [row[1] for row in rows] == ["cancelled", "completed"]
    assert [row[3] for row in rows] == ["faq", "bank"]
    text = " ".join(shown(runs_table(found), 120).split())
    assert "filter.tau_pos quantile 0.05 -> 0.7" in text
    assert text.count("->") == 1
    assert max(map(len, shown(runs_table(found), 80).splitlines())) <= 80
