"""Locks between processes: who waits says so, and what cannot be locked is one message."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.runner.runs import is_held
from pipeline.store.lock import StoreLock
from tests.checkout import ROOT


def test_a_lock_that_cannot_be_made_is_one_message(tmp_path: Path):
    (tmp_path / "locks").write_text("a file", "utf-8")
    with pytest.raises(FlipkdError, match=r"cannot (lock|create).*locks"):
        StoreLock(tmp_path / "locks" / "a.lock").acquire()
    (tmp_path / "b.lock").mkdir()
    with pytest.raises(FlipkdError, match=r"cannot lock .*b\.lock"):
        StoreLock(tmp_path / "b.lock").acquire()


def test_a_file_system_without_locks_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FlipkdError, match="its file system has no locks"):
        StoreLock(tmp_path / "a.lock").acquire()


def test_who_waits_for_a_lock_says_so(tmp_path: Path, flipkd_log: pytest.LogCaptureFixture):
    script = (
        "import sys, time; from pathlib import Path; from pipeline.store.lock import StoreLock\n"
        "with StoreLock(Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    )
    path = tmp_path / "score-k.lock"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with StoreLock(path):  # free at once when its holder dies
        assert "waiting for another process, which holds score-k" in flipkd_log.text
    process.wait()


def test_asking_whether_a_lock_is_held_disturbs_nobody(tmp_path: Path):
    lock = StoreLock(tmp_path / "a.lock")
    assert not is_held(tmp_path / "a.lock")
    assert not (tmp_path / "a.lock").exists()
    with lock:
        assert is_held(tmp_path / "a.lock")
        with StoreLock(tmp_path / "a.lock").held() as held:
            assert not held
    assert not is_held(tmp_path / "a.lock")
    with lock.held() as held:
        assert held
        assert is_held(tmp_path / "a.lock")
    assert not is_held(tmp_path / "a.lock")
