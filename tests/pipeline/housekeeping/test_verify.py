"""`flipkd verify`: one byte anywhere is found, and what is only curious is no damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.cli.verify_view import findings_table
from pipeline.housekeeping.verify import remove_damaged, verify_store
from pipeline.runner.runs import recording
from pipeline.store.manifest import MANIFEST
from pipeline.store.store import PREFECT_RECORD, Store
from tests.pipeline.housekeeping.test_garbage import steps_of
from tests.pipeline.runner.test_runs import CONFIG
from tests.stores import promote, put, put_chain, put_run


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_whole_store_is_whole_also_after_a_copy(tmp_path: Path):
    store = Store(tmp_path / "a")
    chain = put_chain(store, "a")
    promote(store, chain["export"])
    verdict = verify_store(store)
    assert verdict.ok
    assert (verdict.artifacts, verdict.files, verdict.findings) == (len(chain), len(chain), [])
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True)
    assert verify_store(Store(tmp_path / "b")).ok


def test_each_kind_of_damage_is_found_in_its_artifact(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "a", size=1000)
    folders = {stage: store.path(*one) for stage, one in chain.items()}
    flip_byte(folders["prepare"] / "inner" / "data.bin")
    (folders["teach"] / "inner" / "data.bin").unlink()
    (folders["score"] / "inner" / "data.bin").write_bytes(b"short")
    (folders["filter"] / MANIFEST).unlink()
    text = (folders["distill"] / MANIFEST).read_text("utf-8")
    (folders["distill"] / MANIFEST).write_text(text[: len(text) // 2], "utf-8")
    wrong = folders["export"].with_name("f" * 20)
    folders["export"].rename(wrong)
    found = {finding.stage: " ".join(finding.damage) for finding in verify_store(store).findings}
    assert "inner/data.bin differs from its digest" in found["prepare"]
    assert "inner/data.bin is missing" in found["teach"]
    assert "has 5 bytes instead of 1000" in found["score"]
    assert "no artifact filter/" in found["filter"]
    assert "cannot be read as a manifest" in found["distill"]
    assert f"belongs to export/{chain['export'][1]}" in found["export"]
    assert not verify_store(store).ok


def test_every_byte_of_every_file_counts(tmp_path: Path):
    """The data's by its digest; the manifest's by what it says, or because it does not change what is there."""
    store = Store(tmp_path)
    one = put(store, "prepare", "a", size=20)
    data = store.path(*one) / "inner" / "data.bin"
    whole = data.read_bytes()
    for place in range(len(whole)):
        data.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        assert not verify_store(store).ok
    data.write_bytes(whole)
    assert verify_store(store).ok


def test_files_of_somebody_else_are_told_but_hidden_ones_are_not(tmp_path: Path):
    store = Store(tmp_path)
    one = put(store, "score", "a")
    folder = store.path(*one)
    for name in (".DS_Store", "inner/__pycache__/x.pyc", PREFECT_RECORD):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}", "utf-8")
    put(store, "prepare", "a")
    put(store, "teach", "a")
    assert verify_store(store).ok
    (folder / "inner" / "mine.csv").write_text("a,b", "utf-8")
    verdict = verify_store(store)
    assert [finding.foreign for finding in verdict.findings] == [["inner/mine.csv"]]
    assert not verdict.ok
    assert verdict.damaged == []
    flip_byte(folder / "inner" / "data.bin")
    _, stays = remove_damaged(store, verify_store(store))
    assert "inner/mine.csv" in stays[0][1]
    assert (folder / "inner" / "mine.csv").exists()


def test_an_input_that_is_gone_is_a_note(tmp_path: Path):
    store = Store(tmp_path)
    put(store, "filter", "a")
    verdict = verify_store(store)
    assert verdict.ok
    assert "not in the store any more" in verdict.findings[0].notes[0]
    assert findings_table(verdict).row_count == 1


def test_a_folder_that_is_no_artifact_is_told_and_never_removed(tmp_path: Path):
    store = Store(tmp_path)
    (tmp_path / "artifacts" / "score" / "copy of it").mkdir(parents=True)
    verdict = verify_store(store)
    assert "no artifact's name" in verdict.findings[0].damage[0]
    assert remove_damaged(store, verdict)[0] == []
    assert (tmp_path / "artifacts" / "score" / "copy of it").exists()


def test_a_manifest_that_names_files_outside_is_damage(tmp_path: Path):
    store = Store(tmp_path)
    one = put(store, "prepare", "a")
    (tmp_path / "outside").write_text("x", "utf-8")
    path = store.path(*one) / MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    manifest["files"] = {"../../../outside": {"bytes": 1, "sha256": "0" * 64}}
    path.write_text(json.dumps(manifest), "utf-8")
    assert "outside" in verify_store(store).damaged[0].damage[0]


def test_links_and_records_that_are_wrong_are_problems(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    promote(store, chain["export"])
    put_run(store, "20270101T000000Z-aaaaaa", chain, age_days=0).write_text("{", "utf-8")
    shutil.rmtree(store.path(*chain["export"]))
    verdict = verify_store(store)
    assert not verdict.ok
    assert "cannot be read as a run" in verdict.others[0]
    assert "not in the store" in verdict.others[1]


def test_removal_takes_what_is_damaged_and_not_in_use(tmp_path: Path):
    store = Store(tmp_path)
    chain = put_chain(store, "a")
    for stage in ("prepare", "teach", "score", "filter"):
        flip_byte(store.path(*chain[stage]) / "inner" / "data.bin")
    verdict = verify_store(store)
    put(store, "teach", "a")  # healed in between
    with recording(CONFIG, store, steps_of(chain)[:1]), store.lock(*chain["score"]):
        removed, stays = remove_damaged(store, verdict)
    assert [finding.stage for finding in removed] == ["filter"]
    assert {finding.stage: why for finding, why in stays} == {
        "prepare": "in use by a run in progress", "teach": "whole again", "score": "in use by a run in progress",
    }  # fmt: skip
    assert store.problems(*chain["filter"]) is None


def test_there_is_no_store(tmp_path: Path):
    with pytest.raises(FlipkdError, match="no store at"):
        verify_store(Store(tmp_path / "nowhere"))
