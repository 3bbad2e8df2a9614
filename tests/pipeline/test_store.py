"""Artifacts are complete or absent: shown by killing the writer, and by damaging what it wrote."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.store import MANIFEST, FileEntry, Manifest, Store, artifact_key

WRITER = """
import sys, time
from pathlib import Path
from pipeline.store import Store
store = Store(Path(sys.argv[1]))
with store.lock("score", "k"), store.writing("score", "k") as folder:
    (folder / "half.parquet").write_bytes(b"x" * 1000)
    print("written", flush=True)
    time.sleep(60)
"""


def publish(store: Store, content: bytes = b"hello") -> Path:
    import hashlib

    with store.lock("score", "k"), store.writing("score", "k") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a.txt").write_bytes(content)
        entry = FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        manifest = Manifest(
            stage="score", stage_version=1, key="k", config={}, inputs={}, files={"inner/a.txt": entry},
            summary={}, packages={}, machine={}, seed=0, started="now", duration_seconds=0.0,
        )  # fmt: skip
        (folder / MANIFEST).write_text(manifest.model_dump_json(), "utf-8")
    return store.path("score", "k")


def test_an_artifact_is_intact_until_a_byte_changes(tmp_path: Path):
    store = Store(tmp_path)
    assert store.problems("score", "k") is None
    folder = publish(store)
    assert store.problems("score", "k") == []
    (folder / "inner" / "a.txt").write_bytes(b"hellO")
    assert store.problems("score", "k") == ["inner/a.txt differs from its digest"]
    (folder / "inner" / "a.txt").write_bytes(b"hell")
    assert store.problems("score", "k") == ["inner/a.txt has 4 bytes instead of 5"]
    (folder / "inner" / "a.txt").unlink()
    assert store.problems("score", "k") == ["inner/a.txt is missing"]
    (folder / MANIFEST).write_text('{"stage": ', "utf-8")
    assert "cannot be read as a manifest" in (store.problems("score", "k") or [""])[0]


def test_a_manifest_of_another_artifact_is_a_problem(tmp_path: Path):
    store = Store(tmp_path)
    folder = publish(store)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | {"key": "other"}), "utf-8")
    assert "belongs to score/other" in (store.problems("score", "k") or [""])[0]


def test_a_writer_killed_half_way_leaves_nothing_to_see_and_frees_its_lock(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = Store(tmp_path)
    assert store.problems("score", "k") is None
    assert [p.name for p in store.path("score", "k").parent.iterdir()] == [".k.writing"]
    folder = publish(store)
    assert [p.name for p in folder.parent.iterdir()] == ["k"]


def test_a_failing_writer_leaves_the_former_artifact(tmp_path: Path):
    store = Store(tmp_path)
    folder = publish(store, b"old")

    def fail() -> None:
        with store.writing("score", "k") as temporary:
            (temporary / "a").write_bytes(b"new")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert (folder / "inner" / "a.txt").read_bytes() == b"old"
    publish(store, b"new")
    assert (folder / "inner" / "a.txt").read_bytes() == b"new"


def test_a_store_that_cannot_be_made_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder", "utf-8")
    with pytest.raises(FlipkdError, match="Choose another store"), Store(tmp_path / "file").writing("score", "k"):
        pass


def test_keys_depend_on_each_part_and_not_on_order():
    base = artifact_key("filter", 1, {"a": 1, "b": 2}, 0, {"score": "x"})
    assert base == artifact_key("filter", 1, {"b": 2, "a": 1}, 0, {"score": "x"})
    others = {
        artifact_key("teach", 1, {"a": 1, "b": 2}, 0, {"score": "x"}),
        artifact_key("filter", 2, {"a": 1, "b": 2}, 0, {"score": "x"}),
        artifact_key("filter", 1, {"a": 1, "b": 3}, 0, {"score": "x"}),
        artifact_key("filter", 1, {"a": 1, "b": 2}, 1, {"score": "x"}),
        artifact_key("filter", 1, {"a": 1, "b": 2}, 0, {"score": "y"}),
    }
    assert len(others | {base}) == 6
    assert len(base) == 20
