"""`flipkd lineage`: an artifact found by what a person types, and told back to raw files and models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.cli.lineage_view import lineage_tree, used_by_line
from pipeline.housekeeping.lineage import find_artifact, lineage
from pipeline.store.manifest import MANIFEST
from pipeline.store.store import Store
from tests.stores import MODEL, promote, put, put_chain
from tests.terminal import shown


def test_back_to_the_files_and_the_model(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    told = lineage(store, chain["export"])
    names = {stage: "/".join(one) for stage, one in chain.items()}
    assert set(told["artifacts"]) == set(names.values())
    assert told["artifacts"][names["filter"]]["inputs"] == {"score": names["score"]}
    assert told["artifacts"][names["distill"]]["inputs"]["model"] == MODEL
    assert told["artifacts"][names["prepare"]]["inputs"] == {"file 0": f"a.csv sha256:{'f' * 64}"}
    assert json.loads(json.dumps(told)) == told
    text = shown(lineage_tree(told), 200)
    assert text.startswith(names["export"])
    assert f"file 0 a.csv sha256:{'f' * 64}" in text
    assert f"model {MODEL}" in text
    assert text.count("a.csv") == 1  # the second time: above
    assert f"{names['prepare']} (above)" in text
    assert "flipkd 0.1.0" in text


def test_what_was_made_from_it(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    other = put(store, "filter", "b", {"score": "a"})
    told = lineage(store, chain["score"])
    made = {chain[stage] for stage in ("filter", "distill", "export")} | {other}
    assert set(told["used_by"]) == set(map("/".join, made))
    assert told["used_by"][-1] == "/".join(chain["export"])
    assert told["promoted_as"] == []
    promote(store, chain["export"], "faq")
    told = lineage(store, chain["export"])
    assert (told["used_by"], told["promoted_as"]) == ([], ["faq"])
    assert used_by_line(told) == "nothing in the store was made from it; in use as faq"


def test_every_way_to_name_an_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(tmp_path / "store")
    chain = put_chain(store, "a")
    stage, key = one = chain["export"]
    promote(store, one)
    folder = store.path(*one)
    for name in (key, key[:7], f"{stage}/{key}", f"{stage}/{key[:5]}", str(folder), str(folder / "inner")):
        assert find_artifact(store, name) == (store, one)
    assert find_artifact(store, str(tmp_path / "store" / "current" / "default")) == (store, one)
    monkeypatch.chdir(folder.parent)
    assert find_artifact(store, key[:6]) == (store, one)
    assert find_artifact(Store(tmp_path / "other"), key) == (store, one)  # by the path, as it is no key there
    assert find_artifact(Store(tmp_path / "other"), f"./{key}") == (store, one)


def test_unknown_and_ambiguous_names_say_what_there_is(tmp_path: Path):
    store = Store(tmp_path)
    with pytest.raises(FlipkdError, match="holds no artifacts"):
        find_artifact(store, "abc")
    one = put(store, "prepare", "a")
    with pytest.raises(FlipkdError, match=f"no artifact score/0.*there are {'/'.join(one)}"):
        find_artifact(store, "score/0")
    with pytest.raises(FlipkdError, match="neither a path nor a key"):
        find_artifact(store, "my student")
    with pytest.raises(FlipkdError, match="does not lie in an artifact"):
        find_artifact(store, str(tmp_path))
    shutil.copytree(store.path(*one), store.path("score", one[1]))
    with pytest.raises(FlipkdError, match=f"fits 2 artifacts: prepare/{one[1]}, score/{one[1]}"):
        find_artifact(store, one[1][:4])


def test_what_is_gone_or_damaged_is_told_as_that(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    shutil.rmtree(store.path(*chain["prepare"]))
    (store.path(*chain["teach"]) / MANIFEST).write_text("{", "utf-8")
    told = lineage(store, chain["score"])
    states = {name.split("/")[0]: entry["state"] for name, entry in told["artifacts"].items()}
    assert states == {"score": "there", "prepare": "missing", "teach": "unreadable"}
    assert "not in the store" in shown(lineage_tree(told), 200)
    assert "cannot be read: flipkd verify" in shown(lineage_tree(told), 200)
