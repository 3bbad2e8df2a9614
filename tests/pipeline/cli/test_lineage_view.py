"""`flipkd lineage` in a terminal."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.lineage_view import lineage_tree, used_by_line
from pipeline.housekeeping.lineage import lineage
from pipeline.store.store import Store
from tests.stores import promote, put_chain
from tests.terminal import shown


def test_each_artifact_is_told_once_down_to_the_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    text = shown(lineage_tree(lineage(store, chain["export"])), 160)
    for stage, key in chain.values():
        assert text.count(f"{stage}/{key}") >= 1
    stage, key = chain["prepare"]
    assert text.count(f"{stage}/{key}") == text.count(f"{stage}/{key} (above)") + 1
    assert "file 0 a.csv sha256:fff" in text
    assert "flipkd 0.1.0" in text


def test_what_was_made_from_it_and_whether_it_is_in_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    assert used_by_line(lineage(store, chain["export"])) == "nothing in the store was made from it"
    promote(store, chain["export"])
    assert used_by_line(lineage(store, chain["export"])).endswith("; in use as default")
    assert "/".join(chain["filter"]) in used_by_line(lineage(store, chain["score"]))
