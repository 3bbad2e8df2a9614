"""A run whose models are local opens no connection but loopback."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from pipeline.stages.distill.processes import environment_of
from tests.safety import audit
from tests.safety.conftest import TRACE, Watched, strace_works

ADDRESS = re.compile(r'sin6?_addr=inet_(?:addr|pton\(AF_INET6,)\s*\(?"([^"]+)"|inet_pton\(AF_INET6, "([^"]+)"')


def test_python_connects_to_loopback_alone(watched: Watched) -> None:
    seen = audit.events(watched.folder / "watch", "socket.connect")
    addresses = [ast.literal_eval(address) for (address,) in seen]
    addresses += [
        ast.literal_eval(address) for (address,) in audit.events(watched.folder / "watch", "socket.sendto")
    ]
    hosts = {address[0] for address in addresses if isinstance(address, tuple)}
    assert hosts, "the run talks to Prefect's embedded server, so something must have been seen"
    assert all(ip_address(host).is_loopback for host in hosts), hosts


def test_no_name_is_looked_up(watched: Watched) -> None:
    names = {name for (name,) in audit.events(watched.folder / "watch", "socket.getaddrinfo")}
    names |= {name for (name,) in audit.events(watched.folder / "watch", "socket.gethostbyname")}
    assert names <= {"127.0.0.1", "localhost", "::1"}


def test_the_system_sees_connections_to_loopback_alone(watched: Watched) -> None:
    """Every process of the run, the clean one of `export` too, and code that is not Python's."""
    if watched.trace is None:
        pytest.skip("strace is not installed or may not trace here; the test of Python's own events has run")
    assert_loopback(watched.trace)


def assert_loopback(trace: Path) -> None:
    """Nothing was connected to, sent to, or listened on beyond loopback."""
    text = trace.read_text(encoding="utf-8", errors="replace")
    found = ADDRESS.findall(text)
    assert len(re.findall("sa_family=AF_INET", text)) == len(found) > 0
    hosts = {ip_address(first or second) for first, second in found}
    hosts = {getattr(host, "ipv4_mapped", None) or host for host in hosts}
    assert all(host.is_loopback for host in hosts), hosts


def test_processes_that_train_together_meet_on_loopback(tmp_path: Path) -> None:
    """With `distill.processes` above 1: nobody outside of the machine can join, and no name is looked up."""
    if not strace_works():
        pytest.skip("strace is not installed or may not trace here")
    code = (
        "import torch; from pathlib import Path; from pipeline.stages.distill.worker import meet\n"
        f"torch.cuda.is_available = lambda: False\nmeet(Path({str(tmp_path)!r}))\n"
        "one = torch.ones(1); torch.distributed.all_reduce(one); print(int(one))\n"
        "torch.distributed.destroy_process_group()"
    )
    started = [
        subprocess.Popen(
            ["strace", *TRACE, "-o", str(tmp_path / f"trace{rank}"), sys.executable, "-c", code],
            env=environment_of(rank, 2) | {"PYTHONPATH": str(audit.ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in started] == ["2\n", "2\n"]
    for rank in range(2):
        assert_loopback(tmp_path / f"trace{rank}")


def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    audit.install(tmp_path)
    code = (
        "import pickle, socket, os.path\n"
        "pickle.loads(pickle.dumps(os.path.join))\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.connect(('192.0.2.1', 9))\n"
    )
    subprocess.run([sys.executable, "-c", code], env=audit.environment(tmp_path), check=True)
    assert audit.events(tmp_path, "pickle.find_class") == {("posixpath", "join")}
    assert audit.events(tmp_path, "socket.connect") == {("('192.0.2.1', 9)",)}
