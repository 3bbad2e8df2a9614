"""Names in configs, manifests and on the command line cannot lead out of the store on write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from data.errors import FlipkdError
from pipeline.config.nightly import PromoteConfig
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan
from pipeline.store.manifest import MANIFEST, read_manifest
from pipeline.store.store import Store
from tests.safety.conftest import NAME, Watched
from tests.tiny import tiny_config

OUTSIDE = ("../x", "..", "a/../../x", "/x", "a/b", "", ".", "x\0y", "..\\x")


@pytest.fixture
def store(watched: Watched, tmp_path: Path) -> Store:
    """A copy of one artifact's store, beside a file that is none of its business."""
    shutil.copytree(watched.folder / "store/artifacts/prepare", tmp_path / "store/artifacts/prepare")
    (tmp_path / "outside.txt").write_text("private", encoding="utf-8")
    return Store(tmp_path / "store")


def key_of(store: Store) -> str:
    return next((store.root / "artifacts/prepare").glob("*/manifest.json")).parent.name


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_stage_or_key_that_leads_elsewhere_is_no_artifact(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "store")
    for place in (store.path, store.work):
        with pytest.raises(FlipkdError, match="out of the store"):
            place("prepare", name)
        with pytest.raises(FlipkdError, match="out of the store"):
            place(name, "key")
    with pytest.raises(FlipkdError, match="out of the store"):
        store.lock("prepare", f"../{name}")
    assert list(tmp_path.rglob("*.lock")) == []


@pytest.mark.parametrize("name", ["../../../outside.txt", "/etc/hostname", "a/../../../../outside.txt", ""])
def test_a_manifest_that_names_a_file_outside_is_no_manifest(store: Store, name: str) -> None:
    key = key_of(store)
    path = store.path("prepare", key) / MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    manifest["files"][name] = {"bytes": 7, "sha256": "0" * 64, "rows": None}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(FlipkdError, match="names a file outside of its artifact"):
        store.manifest("prepare", key)
    with pytest.raises(ValidationError):
        read_manifest(path.parent)
    assert "outside of its artifact" in "".join(store.problems("prepare", key) or [])


def test_a_manifest_cannot_stand_in_for_another_artifact(store: Store) -> None:
    key = key_of(store)
    path = store.path("prepare", key) / MANIFEST
    path.write_text(path.read_text("utf-8").replace(f'"key": "{key}"', '"key": "../../x"'), encoding="utf-8")
    with pytest.raises(FlipkdError, match="belongs to prepare"):
        store.manifest("prepare", key)


def test_a_link_planted_for_the_temporary_folder_is_not_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store.root / "artifacts/prepare/.planted.writing").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FlipkdError), store.writing("prepare", "planted") as folder:
        (folder / "x").write_text("x", encoding="utf-8")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_removing_an_artifact_leaves_what_its_links_point_to(store: Store, tmp_path: Path) -> None:
    key = key_of(store)
    folder = store.path("prepare", key)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept.txt").write_text("kept", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path / "outside.txt")
    (folder / "links").symlink_to(tmp_path / "elsewhere")
    with store.writing("prepare", key) as fresh:
        (fresh / "x").write_text("x", encoding="utf-8")
    assert [path.name for path in folder.iterdir()] == ["x"]
    assert (tmp_path / "outside.txt").read_text("utf-8") == "private"
    assert (tmp_path / "elsewhere/kept.txt").read_text("utf-8") == "kept"


def test_an_artifact_that_is_a_link_is_not_removed_through_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept.txt").write_text("kept", encoding="utf-8")
    store.path("prepare", "planted").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FlipkdError, match="cannot remove"):
        store.discard("prepare", "planted")
    assert (tmp_path / "elsewhere/kept.txt").read_text("utf-8") == "kept"


def test_an_input_s_name_is_a_name_and_never_a_path(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "here", teach={"tune": False})
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    files = [file.model_copy(update={"name": f"{NAME}/../../escaped"}) for file in config.prepare.inputs]
    config = config.model_copy(update={"prepare": config.prepare.model_copy(update={"inputs": files})})
    step = plan(config, "prepare")[0]
    execute(step, config, Store(Path(config.store or "")))
    new = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} - before
    assert new
    assert all(path.parts[:2] == ("here", "store") for path in new), new


@pytest.mark.parametrize("name", [*OUTSIDE, "Default", "x y", "a" * 65])
def test_a_promotion_s_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(ValidationError):
        PromoteConfig(name=name)
