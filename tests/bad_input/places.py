"""Paths that lead to no file, or to none that can be read as one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import Case, pairs, pairs_of, put, utterances_of, write

KEY = "prepare.inputs.0"


def cases() -> Iterator[Case]:
    for name, (make, says) in PLACES.items():

        def pairs_there(folder: Path, make: Callable[[Path], str] = make) -> dict[str, Any]:
            return pairs_of(make(folder))

        yield Case("places", name, pairs_there, "error", (KEY, *says))
    for name in ("a folder", "a pipe", "a broken link", "nothing there"):
        make, says = PLACES[name]

        def utterances_there(folder: Path, make: Callable[[Path], str] = make) -> dict[str, Any]:
            return utterances_of(make(folder))

        yield Case("places", f"{name}, for utterances", utterances_there, "error", (KEY, *says))
    yield Case("places", "a link to a file", lambda folder: pairs_of(_link(folder)), "accepted", rows=40)
    yield Case(
        "places", "a name with odd characters", lambda folder: pairs_of(_odd_name(folder)), "accepted", rows=40
    )
    yield Case("places", "the same file twice", _twice, "error", ("prepare.inputs", "rows.csv", "`name`"))


def _folder(folder: Path) -> str:
    (folder / "rows.csv").mkdir()
    return str(folder / "rows.csv")


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "rows.csv")
    return str(folder / "rows.csv")


def _socket(folder: Path) -> str:
    place = os.path.relpath(folder / "s")  # its whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(place)
    (folder / "s").rename(folder / "rows.csv")
    return str(folder / "rows.csv")


def _to(target: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / "rows.csv").symlink_to(target)
        return str(folder / "rows.csv")

    return make


def _below_a_file(folder: Path) -> str:
    return str(put(folder, "rows", "x") / "rows.csv")


PLACES: dict[str, tuple[Callable[[Path], str], tuple[str, ...]]] = {
    "nothing there": (lambda folder: str(folder / "none.csv"), ("no such file", "none.csv")),
    "a folder": (_folder, ("rows.csv", "is a folder")),
    "a pipe": (_pipe, ("rows.csv", "pipe or device")),
    "a socket": (_socket, ("rows.csv", "pipe or device")),
    "a broken link": (_to("gone.csv"), ("rows.csv", "gone.csv", "not there")),
    "a link to itself": (_to("rows.csv"), ("rows.csv",)),
    "a link to a folder": (_to("."), ("rows.csv", "is a folder")),
    "a link to a device": (_to("/dev/zero"), ("rows.csv", "pipe or device")),
    "a device without end": (lambda _: "/dev/zero", ("/dev/zero", "pipe or device")),
    "the empty device": (lambda _: "/dev/null", ("/dev/null", "pipe or device")),
    "a file that fails to be read": (_to("/proc/self/mem"), ("rows.csv", "cannot be")),
    "below a file": (_below_a_file, ("rows.csv", "no such file")),
    "an empty path": (lambda _: "", ("is a folder",)),
    "a path of 5,000 characters": (lambda folder: str(folder / ("x" * 5000)), ("too long",)),
    "a NUL in the path": (lambda folder: str(folder / "a\0b.csv"), ("null",)),
    "the home of nobody": (lambda _: "~nobody-of-that-name/rows.csv", ("~nobody-of-that-name",)),
    "a pattern": (lambda folder: str(folder / "*.csv"), ("no such file", "*.csv")),
    "an address": (lambda _: "https://example.com/rows.csv", ("no such file", "example.com")),
    "a package that is not there": (lambda _: "package:no_such_thing/rows.csv", ("pip install no-such-thing",)),
    "a package of no name": (lambda _: "package:../x/rows.csv", ("no package",)),
    "a file that its package lacks": (lambda _: "package:polars/none.csv", ("holds no `none.csv`",)),
    "out of its package": (lambda _: "package:polars/../../../../none.csv", ("none.csv",)),
}  # fmt: skip


def _link(folder: Path) -> Path:
    write(folder / "rows.csv", pairs())
    (folder / "link.csv").symlink_to("rows.csv")
    return folder / "link.csv"


def _odd_name(folder: Path) -> Path:
    return write(folder / "rows [1] 'ü'\n<b>.csv", pairs())


def _twice(folder: Path) -> dict[str, Any]:
    path = str(write(folder / "rows.csv", pairs()))
    return {"prepare": {"inputs": [{"kind": "pairs", "path": path}] * 2}}
