"""The link to the student in use, its history, rollback, and what crashes and broken stores do to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.promotion.history import earlier, history, history_file, moves, rolled_back
from pipeline.promotion.link import (
    KEPT,
    LinkMoved,
    in_use,
    link_of,
    linked_key,
    move,
    promoted_keys,
    refuse,
    roll_back,
)
from pipeline.store.store import Store
from tests.checkout import ROOT
from tests.students import add_artifact


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def add_export(store: Store, number: int) -> str:
    def fill(folder: Path) -> None:
        (folder / "student").mkdir()
        (folder / "student" / "number").write_text(str(number))

    return add_artifact(store, "export", {"number": number}, {}, fill)


def promote(store: Store, key: str, name: str = "default") -> None:
    move(store, name, key, "because", expected=linked_key(store, name))


def loaded(store: Store) -> str:
    """What a service reads, through the path that it knows."""
    return (store.root / "current" / "default" / "student" / "number").read_text()


# ------------------------------------------------------------------------------------------------ the link


def test_nothing_is_in_use_at_first(store: Store) -> None:
    assert in_use(store) is None
    assert history(store) == []
    assert promoted_keys(store) == {}
    assert not store.root.exists()


def test_the_link_is_relative_and_moves_with_the_store(store: Store, tmp_path: Path) -> None:
    first, second = add_export(store, 1), add_export(store, 2)
    promote(store, first)
    promote(store, second)
    assert os.readlink(link_of(store)) == f"../artifacts/export/{second}"  # noqa: PTH115
    assert loaded(store) == "2"
    shutil.move(store.root, tmp_path / "elsewhere")
    moved = Store(tmp_path / "elsewhere")
    assert in_use(moved) == second
    assert loaded(moved) == "2"
    roll_back(moved)
    assert loaded(moved) == "1"


def test_names_are_apart(store: Store) -> None:
    first, second = add_export(store, 1), add_export(store, 2)
    promote(store, first, "faq")
    promote(store, second, "products")
    assert (in_use(store, "faq"), in_use(store, "products"), in_use(store)) == (first, second, None)
    assert promoted_keys(store) == {"faq": [first], "products": [second]}


def test_no_reader_ever_finds_nothing(store: Store) -> None:
    keys = [add_export(store, n) for n in range(2)]
    promote(store, keys[0])
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(loaded(store))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(1, 40):
        promote(store, keys[n % 2])
    stop.set()
    reader.join()
    assert seen == {"0", "1"}
    assert [path.name for path in (store.root / "current").iterdir()] == ["default"]


def test_a_decision_about_another_student_is_not_carried_out(store: Store) -> None:
    first, second, third = (add_export(store, n) for n in range(3))
    promote(store, first)
    promote(store, second)
    with pytest.raises(LinkMoved):
        move(store, "default", third, "was better than the first", expected=first)
    assert in_use(store) == second
    assert len(history(store)) == 2


@pytest.mark.parametrize(
    "target",
    [
        "/somewhere/else",
        "../artifacts/distill/0123456789abcdef0123",
        "../artifacts/export/../../..",
        "../artifacts",
    ],
)
def test_a_foreign_link_is_refused(store: Store, target: str) -> None:
    key = add_export(store, 1)
    link_of(store).parent.mkdir()
    link_of(store).symlink_to(target)
    for use in (in_use, promoted_keys, lambda s: promote(s, key), roll_back):
        with pytest.raises(FlipkdError, match=r"current/default points to .* Remove it; then `flipkd promoted`"):
            use(store)


def test_a_copy_that_lost_its_links_is_told(store: Store) -> None:
    key = add_export(store, 1)
    promote(store, key)
    link_of(store).unlink()
    shutil.copytree(store.path("export", key), link_of(store))
    with pytest.raises(FlipkdError, match=r"is a file or folder, not a link: .*cp -a"):
        in_use(store)
    shutil.rmtree(link_of(store))  # as the message says
    assert history(store)[-1].key == key
    promote(store, key)
    assert loaded(store) == "1"


def test_a_dangling_link_is_told_and_can_be_left(store: Store) -> None:
    first, second = add_export(store, 1), add_export(store, 2)
    promote(store, first)
    promote(store, second)
    shutil.rmtree(store.path("export", second))
    with pytest.raises(FlipkdError, match=rf"{second}, which is not in the store\. `flipkd rollback`"):
        in_use(store)
    assert promoted_keys(store) == {"default": [second, first]}
    assert roll_back(store).key == first
    assert in_use(store) == first


def test_a_damaged_export_is_never_put_into_use(store: Store) -> None:
    first, second = add_export(store, 1), add_export(store, 2)
    promote(store, first)
    (store.path("export", second) / "student" / "number").write_text("3")
    with pytest.raises(FlipkdError, match="student/number differs from its digest"):
        promote(store, second)
    with pytest.raises(FlipkdError, match="there is no export"):
        promote(store, "0" * 20)
    assert in_use(store) == first
    assert len(history(store)) == 1


# ------------------------------------------------------------------------------------------------- rollback


def test_rollback_goes_back_step_by_step(store: Store) -> None:
    keys = [add_export(store, n) for n in range(4)]
    for key in keys[:3]:
        promote(store, key)
    refuse(store, "default", keys[3], keys[2], "worse")
    assert [roll_back(store).key, roll_back(store).key] == [keys[1], keys[0]]
    with pytest.raises(FlipkdError, match="no student was in use before"):
        roll_back(store)
    assert [record.action for record in history(store)] == ["promote"] * 3 + ["refused"] + ["rollback"] * 2
    assert [record.previous for record in history(store)] == [None, *keys[:2], keys[2], keys[2], keys[1]]


def test_what_was_rolled_back_is_not_returned_to(store: Store) -> None:
    a, b, c = (add_export(store, n) for n in range(3))
    promote(store, a)
    promote(store, b)
    roll_back(store)
    promote(store, c)
    assert earlier(history(store), c) == [a]
    undone = rolled_back(history(store), c, b)
    assert undone is not None
    assert undone.previous == b
    promote(store, b)
    assert rolled_back(history(store), b, b) is None
    assert roll_back(store).key == c


def test_rollback_to_a_chosen_one(store: Store) -> None:
    a, b, c = (add_export(store, n) for n in range(3))
    for key in (a, b, c):
        promote(store, key)
    with pytest.raises(FlipkdError, match=f"{c} is none of those that were in use before: {b}, {a}"):
        roll_back(store, key=c)
    assert roll_back(store, key=a, reason="the last two were trained on bad labels").reason.startswith("the last")
    assert earlier(history(store), a) == []


def test_rollback_to_what_is_gone_names_the_next(store: Store) -> None:
    a, b, c = (add_export(store, n) for n in range(3))
    for key in (a, b, c):
        promote(store, key)
    shutil.rmtree(store.path("export", b))
    with pytest.raises(FlipkdError, match=rf"there is no export {b}.*`flipkd rollback --key {a}`"):
        roll_back(store)
    assert in_use(store) == c
    (store.path("export", a) / "student" / "number").unlink()
    with pytest.raises(FlipkdError, match=r"there is no export .*no other one is usable"):
        roll_back(store)


def test_what_is_kept_for_rollbacks(store: Store) -> None:
    keys = [add_export(store, n) for n in range(KEPT + 3)]
    for key in keys:
        promote(store, key)
    shutil.rmtree(store.path("export", keys[-2]))
    assert promoted_keys(store) == {"default": [keys[-1], *reversed(keys[-2 - KEPT : -2])]}


def test_a_link_moved_by_hand_is_returned_to(store: Store) -> None:
    a, b, c, d = (add_export(store, n) for n in range(4))
    promote(store, a)
    promote(store, b)
    link_of(store).unlink()
    link_of(store).symlink_to(f"../artifacts/export/{c}")
    assert earlier(history(store), linked_key(store)) == [b, a]
    promote(store, d)
    assert earlier(history(store), d) == [c, b, a]


# -------------------------------------------------------------------------------------------------- crashes


def run_and_kill(store: Store, key: str, where: str, call: str = "") -> None:
    """Promote in a process that kills itself where the code says."""
    call = call or f"move(store, 'default', '{key}', 'because', expected=linked_key(store))"
    code = f"""
        import os, signal
        from pathlib import Path
        import pipeline.promotion.link as promotion
        from pipeline.promotion.link import linked_key, move, roll_back
        from pipeline.store.store import Store

        def die(*args):
            os.kill(os.getpid(), signal.SIGKILL)

        {where}
        store = Store(Path({str(store.root)!r}))
        {call}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL


def test_killed_between_the_record_and_the_link(store: Store) -> None:
    a, b = add_export(store, 1), add_export(store, 2)
    promote(store, a)
    run_and_kill(store, b, "promotion.point = die")
    assert in_use(store) == a  # the link is the truth
    assert [record.key for record in history(store)] == [a, b]
    assert [record.key for record in moves(history(store), a)] == [a]
    assert earlier(history(store), a) == []
    promote(store, b)  # no lock is left, and the next promotion is as any other
    assert [record.key for record in moves(history(store), b)] == [a, b]
    assert roll_back(store).key == a


def test_killed_at_the_first_promotion(store: Store) -> None:
    a = add_export(store, 1)
    run_and_kill(store, a, "promotion.point = die")
    assert in_use(store) is None
    assert promoted_keys(store) == {"default": []}
    with pytest.raises(FlipkdError, match="no student was in use before"):
        roll_back(store)


def test_killed_beside_the_link(store: Store) -> None:
    a, b = add_export(store, 1), add_export(store, 2)
    promote(store, a)
    run_and_kill(store, b, "Path.replace = die")
    assert in_use(store) == a
    assert promoted_keys(store) == {"default": [a]}
    promote(store, b)
    assert [path.name for path in (store.root / "current").iterdir()] == ["default"]


def test_killed_in_a_rollback(store: Store) -> None:
    a, b = add_export(store, 1), add_export(store, 2)
    promote(store, a)
    promote(store, b)
    run_and_kill(store, b, "promotion.point = die", "roll_back(store)")
    assert in_use(store) == b
    assert rolled_back(history(store), b, b) is None
    assert roll_back(store).key == a


# ------------------------------------------------------------------------------------------ unwritable stores


@pytest.mark.parametrize("folder", ["current", "promotions", "locks"])
def test_a_folder_that_cannot_be_made(store: Store, folder: str) -> None:
    key = add_export(store, 1)
    shutil.rmtree(store.root / folder, ignore_errors=True)
    (store.root / folder).write_text("a file")
    with pytest.raises(FlipkdError, match=f"{store.root}/{folder}"):
        promote(store, key)


@pytest.mark.parametrize("folder", ["current", "promotions"])
def test_a_folder_that_is_read_only(store: Store, folder: str) -> None:
    a, b = add_export(store, 1), add_export(store, 2)
    promote(store, a)
    (store.root / folder).chmod(0o500)
    if os.access(store.root / folder, os.W_OK):
        pytest.skip("this user may write everywhere, as root does")
    if folder == "promotions":
        history_file(store, "default").chmod(0o400)
    with pytest.raises(FlipkdError, match="Permission denied"):
        promote(store, b)
    assert in_use(store) == a


def test_a_full_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = add_export(store, 1), add_export(store, 2)
    promote(store, a)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(FlipkdError, match=r"cannot change which student is in use: .*no space is left"):
            promote(store, b)
    assert in_use(store) == a
    promote(store, b)
    assert in_use(store) == b
