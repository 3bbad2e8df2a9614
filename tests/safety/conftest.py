"""One run of the whole pipeline by the command line, on hostile data, watched from all sides."""

from __future__ import annotations

import csv
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.safety import audit
from tests.tiny import tiny_config, tiny_pairs

# Each does something that shows, where a page or a terminal takes it for more than text.
HOSTILE = (
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "</p></article></main><script>document.title='pwned'</script>",
    "<svg onload=\"document.title='pwned'\"><script>document.title='pwned'</script></svg>",
    "<a href=\"javascript:document.title='pwned'\">javascript:document.title='pwned'</a>",
    '"><iframe srcdoc="<script>parent.document.title=\'pwned\'</script>">',
    "</pre></style></title><script>document.title='pwned'</script><!--",
    "{{ 7 * 7 }}{% raw %}<b id=pwned>${7*7}</b>",
    "[/bold][link=javascript:alert(1)]x[/link] \x1b]0;pwned\x07\x1b[2J",
    "```\n<script>document.title='pwned'</script>\n[x](javascript:alert(1))",
)
NAME = "../../<img src=x onerror=\"document.title='pwned'\">"
SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PREFECT_API_KEY", "DATABASE_URL", "FOO")
TRACE = ["-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,bind,sendto,sendmsg,sendmmsg"]


@dataclass(frozen=True)
class Watched:
    """A run that ended well.

    Attributes:
        folder: holds `store`, `prefect` (its database), `watch` (the events), `config.yaml`.
        printed: its standard output and error.
        secrets: values that stood in its environment.
        trace: what strace saw; None where strace does not work.
    """

    folder: Path
    printed: str
    secrets: dict[str, str]
    trace: Path | None

    def artifact(self, stage: str) -> Path:
        return next(path.parent for path in (self.folder / "store/artifacts" / stage).glob("*/manifest.json"))


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("watched")
    hostile_pairs(folder / "pairs.csv")
    config = tiny_config(folder).model_dump(mode="json", exclude_none=True)
    config["prepare"]["inputs"][0]["name"] = NAME
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    audit.install(folder / "watch")
    hidden = {name: f"{'hf_' if name == 'HF_TOKEN' else ''}secret{secrets.token_hex(12)}" for name in SECRETS}
    environment = audit.environment(
        folder / "watch",
        PREFECT_HOME=str(folder / "prefect"),
        HF_HOME=str(folder / "hub"),
        FLIPKD_HOME=str(folder / "elsewhere"),
        **hidden,
    )
    for name in ("PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL", "HF_HUB_OFFLINE"):
        environment.pop(name, None)
    trace = folder / "trace" if strace_works() else None
    command = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "--debug", "run", "config.yaml"]
    if trace:
        command = ["strace", *TRACE, "-o", str(trace), *command]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return Watched(folder, done.stdout + done.stderr, hidden, trace)


def hostile_pairs(path: Path) -> None:
    """The tiny pairs, with something hostile in each text and group."""
    tiny_pairs(path)
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(head)
        for number, (question, a, b, label) in enumerate(rows):
            payload = HOSTILE[number // 2 % len(HOSTILE)]
            out.writerow([f"{question} {payload}", f"{a} {payload}", f"{b} {payload}", label])


def strace_works() -> bool:
    """Whether strace is here and may trace; containers often forbid it."""
    if os.name != "posix" or shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", *TRACE, "-o", os.devnull, "true"], capture_output=True, check=False)
    return done.returncode == 0
