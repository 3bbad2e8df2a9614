"""Watches a Python process and its children, as `sitecustomize`: every connection, and every name unpickled.

`install(folder)` writes it there; a process started with `environment(folder)` then writes a line of JSON for each
event to `folder/events`, `[process id, event, ...]`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.checkout import ROOT

HOOK = """
import json, os, sys

def watch():
    path, seen = os.environ["SAFETY_EVENTS"], set()

    def write(*line):
        if line not in seen:
            seen.add(line)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, (json.dumps([os.getpid(), *line]) + "\\n").encode())
            os.close(handle)

    def hook(event, arguments):
        if event == "pickle.find_class":
            write(event, *map(str, arguments))
        elif event in ("socket.connect", "socket.sendto"):
            write(event, repr(arguments[1]))
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            write(event, str(arguments[0]))

    write("start", " ".join(sys.orig_argv)[:200])
    sys.addaudithook(hook)

watch()
"""


def install(folder: Path) -> None:
    """Put the hook into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")


def environment(folder: Path, **values: str) -> dict[str, str]:
    """The environment of a process that is watched, with more values."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return os.environ | {"PYTHONPATH": path, "SAFETY_EVENTS": str(folder / "events")} | values


def events(folder: Path, kind: str) -> set[tuple[str, ...]]:
    """What was seen of one kind of event: `pickle.find_class`, `socket.connect`, ..., `start`."""
    lines = (folder / "events").read_text(encoding="utf-8").splitlines()
    return {tuple(rest) for _, event, *rest in map(json.loads, lines) if event == kind}
