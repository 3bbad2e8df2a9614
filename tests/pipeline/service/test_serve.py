"""`flipkd serve-student` as it is started: a process of its own, asked over HTTP by many at once."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.student.folder import set_decision
from models.student.load import load_student
from tests.checkout import ROOT
from tests.models.student.test_service import TEXTS as SOME
from tests.models.student.test_service import saved

TEXTS = [text or "an empty text" for text in SOME]
QUESTIONS = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))
ENTRIES = ["freeze card", "lost card", "fever of child", "dose for a child"]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = saved(tmp_path_factory.mktemp("service"))
    fusion = {"intercept": -1.0, "decoder": 1.5, "encoder": 2.0}
    set_decision(folder, {"thresholds": {"fused": 0.5}, "fusion": fusion})
    return folder


def _start(*arguments: object) -> tuple[subprocess.Popen[str], str]:
    """A service, and where it listens."""
    code = "from pipeline.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve-student", *map(str, arguments)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    said = ""
    assert process.stderr
    for line in process.stderr:
        said += line
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return process, found.group()
    raise AssertionError(said)


@pytest.fixture(scope="module")
def service(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    entries = tmp_path_factory.mktemp("entries") / "titles.csv"
    entries.write_text("\n".join(["name", *ENTRIES, ENTRIES[0]]), encoding="utf-8")
    process, url = _start(student, "--port", 0, "--catalogue", entries, "--text", "name")
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) is not None


def _post(url: str, path: str, body: Any, status: int = 200) -> Any:
    answer = httpx.post(f"{url}/{path}", json=body, timeout=60)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_many_at_once_get_the_numbers_of_one(service: str, student: Path) -> None:
    model = load_student(student)
    wanted = model.match(QUESTIONS)
    vectors = model.embed(TEXTS)

    def asked(n: int) -> None:
        here = slice(n % 40, n % 40 + 1 + n % 7)
        if n % 3 == 0:
            found = np.array(_post(service, "embed", {"texts": TEXTS[here]})["embeddings"])
            np.testing.assert_allclose(found, vectors[here], atol=1e-5)
        else:
            rows = _post(service, "match", {"pairs": QUESTIONS[here]})["scores"]
            for name in ("decoder", "encoder", "fused"):
                np.testing.assert_allclose([row[name] for row in rows], wanted[name][here], atol=1e-5)
            assert [row["matches"] for row in rows] == wanted["matches"][here].tolist()

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(asked, range(120)))
    assert _post(service, "match", {"pairs": []}) == {"scores": []}


def test_the_best_entries_with_their_texts(service: str, student: Path) -> None:
    wanted = load_student(student).search(["my card is lost", "fever"], ENTRIES, 3)
    found = _post(service, "search", {"queries": ["my card is lost", "fever"], "k": 3})["answers"]
    assert [[row["text"] for row in best] for best in found] == [
        [ENTRIES[row["entry"]] for row in best] for best in wanted
    ]
    assert all(ENTRIES[row["entry"] - 1] == row["text"] for best in found for row in best)
    scores = [[(row["fused"], row["matches"]) for row in best] for best in (*found, *wanted)]
    np.testing.assert_allclose(scores[:2], scores[2:], atol=1e-5)
    assert len(_post(service, "search", {"queries": ["x"]})["answers"][0]) == len(ENTRIES)


def test_health(service: str) -> None:
    assert httpx.get(f"{service}/health").json() == {"status": "ok", "student": "student", "entries": 4}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("match", {"pairs": [["one text"]]}, "Field required"),
        ("match", {"pairs": [["a", ""]]}, "at least 1 character"),
        ("match", {"texts": ["a"]}, "Field required"),
        ("match", {"pairs": [["a", "b"]], "threshold": 0.5}, "Extra inputs are not permitted"),
        ("embed", {"texts": ["a"] * 1025}, "at most 1024 items"),
        ("embed", {"texts": ["a" * 100_001]}, "at most 100000 characters"),
        ("search", {"queries": ["a"], "k": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said(service: str, path: str, body: Any, told: str) -> None:
    assert told in str(_post(service, path, body, 422)["detail"])


@pytest.mark.parametrize("body", [b'{"texts": ["\\ud83d"]}', b"{", b'{"texts": "a"}', b'{"texts": ["\xff"]}'])
def test_bad_bytes_are_the_askers_fault_and_do_not_stop_it(service: str, body: bytes) -> None:
    answer = httpx.post(f"{service}/embed", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]
    assert len(_post(service, "embed", {"texts": ["still there"]})["embeddings"]) == 1


def test_a_body_too_large_is_not_read(service: str) -> None:
    assert httpx.post(f"{service}/embed", content=b"x" * (2**24 + 1)).status_code == 413
    assert httpx.post(f"{service}/embed", content=iter([b"x"])).status_code == 413  # no length is told


def test_nothing_is_loaded_from_elsewhere(service: str) -> None:
    assert httpx.get(f"{service}/docs").status_code == 404
    assert httpx.get(f"{service}/openapi.json").json()["info"]["title"] == "A student of flipkd"


def test_without_a_catalogue_and_ended_by_a_signal(student: Path) -> None:
    process, url = _start(student, "--port", 0)
    assert "without a catalogue" in _post(url, "search", {"queries": ["a"]}, 404)["detail"]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in {0, 130, -signal.SIGINT}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_a_port_that_is_taken_is_one_line(student: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = "from pipeline.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "serve-student", str(student), "--port", str(port)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be had; give another one (--port)" in done.stderr
    assert "Traceback" not in done.stderr
