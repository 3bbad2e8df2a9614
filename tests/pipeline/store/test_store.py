"""Artifacts are complete or absent: shown by killing the writer, and by damaging what it wrote."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.stages.prepare.run
from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.runner.execute import execute
from pipeline.runner.plan import Step
from pipeline.runner.status import status
from pipeline.store.manifest import MANIFEST, FileEntry, Manifest
from pipeline.store.store import Store
from tests.pipeline.runner.test_runs import CONFIG
from tests.stores import key_of

WRITER = """
import sys, time
from pathlib import Path
from pipeline.store.store import Store
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


# ------------------------------------------------------------------------------------------- through a run

STEP = Step("prepare", key_of("preparea"), 3, {"max_characters": 9}, {"file 0": "pairs.csv sha256:0"})
FILES = ("data.parquet", "report.html", "inner/model.safetensors", "inner/config.json")


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], bool]:
    """Run a stage that writes a file of each kind; tells whether it was computed."""
    computed: list[int] = []

    def write(config: Any, inputs: Any, out: Path, context: Any) -> dict[str, Any]:
        computed.append(1)
        (out / "inner").mkdir()
        pq.write_table(pa.table({"a": [1, 2, 3]}), out / "data.parquet")
        for name in FILES[1:]:
            (out / name).write_text(f"the content of {name}" * 5, "utf-8")
        splits = {"train": {"pairs": 2}}
        return {"rows": {"read": 3, "rejected": 1}, "splits": splits, "bound": 0.734512, "name": "ä"}

    monkeypatch.setattr(pipeline.stages.prepare.run, "run", write)

    def run(store: Store) -> bool:
        before = len(computed)
        execute(STEP, CONFIG, store)
        return len(computed) > before

    return run


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_byte_anywhere_in_any_kind_of_file_heals_on_the_next_run(
    prepare: Callable[[Store], bool], tmp_path: Path, name: str
):
    store, draw = Store(tmp_path), random.Random(name)
    assert prepare(store)
    assert not prepare(store)
    path = store.path("prepare", STEP.key) / name
    whole = path.read_bytes()
    for place in draw.sample(range(len(whole)), 12):
        if bytes([whole[place]]).isspace():  # of JSON, it may be any white space
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(7)]) + whole[place + 1 :])
        assert prepare(store), (place, whole[place - 20 : place + 20])
        assert store.problems("prepare", STEP.key) == []


@pytest.mark.parametrize("damage", ["cut short", "empty", "gone", "another's", "file gone", "folder emptied"])
def test_what_is_cut_short_or_gone_heals_too(prepare: Callable[[Store], bool], tmp_path: Path, damage: str):
    store = Store(tmp_path)
    prepare(store)
    folder = store.path("prepare", STEP.key)
    manifest = folder / MANIFEST
    text = manifest.read_text("utf-8")
    match damage:
        case "cut short":
            manifest.write_text(text[: len(text) // 2], "utf-8")
        case "empty":
            manifest.write_bytes(b"")
        case "gone":
            manifest.unlink()
        case "another's":
            manifest.write_text(text.replace(STEP.key, key_of("other")), "utf-8")
        case "file gone":
            (folder / FILES[-1]).unlink()
        case "folder emptied":
            shutil.rmtree(folder)
            folder.mkdir()
    assert store.problems("prepare", STEP.key) != []
    assert prepare(store)
    assert not prepare(store)


def test_a_file_that_somebody_has_put_there_costs_no_run_and_stays(
    prepare: Callable[[Store], bool], tmp_path: Path
):
    store = Store(tmp_path)
    prepare(store)
    mine = store.path("prepare", STEP.key) / "mine.csv"
    mine.write_text("a,b", "utf-8")
    assert not prepare(store)
    assert mine.read_text("utf-8") == "a,b"


def test_a_store_that_was_moved_keeps_all_of_it(prepare: Callable[[Store], bool], tmp_path: Path):
    prepare(Store(tmp_path / "here"))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.move(tmp_path / "here", tmp_path / "elsewhere")
    for name in ("there", "elsewhere"):
        assert not prepare(Store(tmp_path / name))
    assert str(tmp_path) not in (tmp_path / "there" / "artifacts" / "prepare" / STEP.key / MANIFEST).read_text(
        "utf-8"
    )


def test_a_manifest_without_a_digest_of_itself_is_read(prepare: Callable[[Store], bool], tmp_path: Path):
    """As those before this were written."""
    store = Store(tmp_path)
    prepare(store)
    path = store.path("prepare", STEP.key) / MANIFEST
    content = json.loads(path.read_text("utf-8"))
    assert content.pop("digest")
    path.write_text(json.dumps(content), "utf-8")
    assert not prepare(store)


def test_what_a_killed_run_left_never_becomes_a_part_of_the_artifact(
    prepare: Callable[[Store], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Store(tmp_path)
    stale = store.path("prepare", STEP.key).with_name(f".{STEP.key}.writing")
    stale.mkdir(parents=True)
    (stale / "half.parquet").write_bytes(b"x")
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(stale))

        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(FlipkdError, match=r"cannot remove .*\.writing.*Permission denied"):
            prepare(store)
    assert prepare(store)
    assert "half.parquet" not in store.manifest("prepare", STEP.key).files


def test_an_artifact_of_the_future_has_no_negative_age(
    prepare: Callable[[Store], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The clock went back since."""
    import pipeline.runner.status

    prepare(Store(tmp_path))
    monkeypatch.setattr(pipeline.runner.status, "plan", lambda *_, **__: [STEP])
    config: Config = CONFIG.model_copy(update={"store": str(tmp_path)})
    (found,) = status(config, now=datetime.now(UTC) - timedelta(days=400))
    assert (found.state, found.age_seconds) == ("cached", 0.0)
    assert Store(tmp_path).manifest("prepare", STEP.key).duration_seconds >= 0
