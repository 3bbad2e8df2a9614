"""What a disk that is full, read-only or too slow to share does: one message, and nothing half written."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from data.errors import FlipkdError
from pipeline.store.disk import disk_problem, make_folder, make_output, replace_file, size_of, sweep
from tests.checkout import ROOT

MOUNT = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What `tests.small_disk` printed."""
    try:
        may = subprocess.run(MOUNT, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no `unshare` here, so no small disk can be mounted")
    if may.returncode:
        pytest.skip(f"no small disk can be mounted here: {may.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("small")
    command = ["unshare", "-rm", sys.executable, "-m", "tests.small_disk", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("stage", ["prepare", "teach", "score", "filter", "distill", "export"])
def test_a_full_disk_is_one_message_that_names_the_path_and_the_cause(told: list[dict[str, Any]], stage: str):
    tries = [one for one in told if one["what"] == stage]
    failed = [one for one in tries if one["raised"]]
    assert failed, "the disk was never too small"
    for one in failed:
        assert (one["raised"], "no space is left on the disk" in one["text"]) == ("FlipkdError", True), one
        assert "/disk/store" in one["text"]
    assert stage == "export" or tries[-1]["raised"] is None or len(tries) > 10


def test_nothing_half_written_can_be_seen(told: list[dict[str, Any]]):
    looks = [one for one in told if one["what"] == "seen"]
    assert len(looks) >= 15
    assert [one for one in looks if one["raised"]] == []


def test_no_record_is_written_on_a_full_or_read_only_disk(told: list[dict[str, Any]]):
    texts = {one["detail"]: (one["raised"], one["text"]) for one in told if one["what"] == "record"}
    assert {raised for raised, _ in texts.values()} == {"FlipkdError"}
    assert "o space" in texts["full"][1]
    assert "Read-only file system" in texts["read-only"][1]


def test_a_read_only_store_says_so(told: list[dict[str, Any]]):
    (one,) = (one for one in told if one["what"] == "run")
    assert one["raised"] == "FlipkdError"
    assert "Read-only file system" in one["text"]
    assert "choose another store" in one["text"]


def test_a_read_only_store_can_be_looked_at(told: list[dict[str, Any]]):
    commands = [one for one in told if one["what"] == "command"]
    assert len(commands) == 4
    assert [one for one in commands if one["raised"]] == []


# ------------------------------------------------------------------------------- without another file system


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/file"), "/x/file: no space is left on the disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space is left"),
        (OSError(errno.EROFS, "Read-only file system", "/x/file"), "/x/file: Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/file"), "/x/file: Permission denied"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "no space"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 8768 vs 8660"), "no space"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "no space"),
    ],
)
def test_errors_of_the_disk_are_recognised(error: BaseException, words: str, tmp_path: Path):
    problem = disk_problem(error, tmp_path)
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize(
    "error", [ValueError("no"), FileNotFoundError(errno.ENOENT, "x"), ConnectionError("x"), FlipkdError("said")]
)
def test_other_errors_are_not_the_disk(error: BaseException, tmp_path: Path):
    assert disk_problem(error, tmp_path) is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "a.json"
    replace_file(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(FlipkdError, match=r"cannot write .*a\.json.*File too large"):
            replace_file(path, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text("utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    replace_file(path, "new")
    assert path.read_text("utf-8") == "new"


def test_sizes_and_sweeping(tmp_path: Path):
    assert size_of(tmp_path / "nothing") == 0
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "x").write_bytes(b"12345")
    os.symlink(tmp_path / "a", tmp_path / "a" / "loop")  # noqa: PTH211
    assert size_of(tmp_path / "a") == 5
    assert size_of(tmp_path / "a" / "b" / "x") == 5
    sweep(tmp_path / "a")
    sweep(tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop root; the read-only disk above does")
def test_a_folder_without_permission(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(FlipkdError, match="Permission denied"):
        make_folder(tmp_path / "store")
    tmp_path.chmod(0o700)
    shutil.rmtree(tmp_path)


def test_where_a_result_goes_is_made_before_the_work(tmp_path: Path) -> None:
    make_output(tmp_path / "a/b")
    make_output(tmp_path / "a/b")
    assert list((tmp_path / "a").rglob("*")) == [tmp_path / "a/b"]  # what it tried is gone
    (tmp_path / "file").touch()
    with pytest.raises(FlipkdError, match=r"-o .*file: is a file; name another folder"):
        make_output(tmp_path / "file")
    with pytest.raises(FlipkdError, match=r"-o .*file/b: cannot be written: Not a directory; name another folder"):
        make_output(tmp_path / "file/b")
