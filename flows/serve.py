"""A server, a worker and the deployments on this machine, as children of one foreground process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import httpx
import psutil
from filelock import FileLock, Timeout
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from data.errors import FlipkdError
from flows.deploy import CHECKOUT, deploy
from pipeline.config.load import load_config
from pipeline.config.location import store_of

HOST = "127.0.0.1"  # Prefect's server has no login
START_SECONDS = 180
STOP_SECONDS = 30
# Leases of concurrency slots in memory are lost when the server restarts, and the slots would stay taken.
LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"


class Stopped(Exception):
    """SIGINT or SIGTERM came."""


def serve(config: str, *, port: int, home: Path | None, silence: int, told: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM, or until a child ends; then end the children, and nothing else.

    Args:
        config: what the deployments run, or `demo`.
        port: of the server on 127.0.0.1.
        home: Prefect's folder (database, logs); $PREFECT_HOME, else `~/.prefect`, by default.
        silence: as in `flows.deploy.deploy`.
        told: what tells the user a line.

    Raises:
        FlipkdError: the port or the folder is taken, the server does not come up, the config is wrong, or a child
            ended.
    """
    settings = load_config(config)  # a wrong one is told before a server is started
    _require_free(port)
    url = f"http://{HOST}:{port}"
    env = os.environ | {
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES_ON_DISK,
    }
    folder = (home or PREFECT_HOME.value()).expanduser().absolute()
    env["PREFECT_HOME"] = str(folder)
    log = folder / "flipkd-server.log"
    with _stoppable(), contextlib.ExitStack() as children:
        children.enter_context(_alone(folder))
        told(f"starting the server on {url} (the first time this takes up to a minute)")
        output = children.enter_context(log.open("wb"))
        server = children.enter_context(
            _child(env, output, "server", "start", "--host", HOST, "--port", str(port))
        )
        _wait_healthy(url, server, log)
        told("deploying")
        with temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}):
            deploy(config, silence=silence)
        worker = children.enter_context(
            _child(env, None, "worker", "start", "--pool", "flipkd", "--type", "process")
        )
        with contextlib.chdir(CHECKOUT):  # where the deployments run
            told(f"The store: {store_of(settings).root}")
        told(f"Prefect's page: {url}\nIn another terminal: export PREFECT_API_URL={url}/api\nCtrl-C ends it all.")
        runs = children.enter_context(_runs(worker))
        while True:
            for name, child in (("server", server), ("worker", worker)):
                if child.poll() is not None:
                    raise FlipkdError(f"the {name} ended by itself (exit status {child.returncode}); see {log}")
            runs.update(_children(worker))
            time.sleep(0.5)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise FlipkdError(
                f"port {port} of {HOST} cannot be used: {error.strerror}. If a Prefect server runs there already, "
                f"export PREFECT_API_URL=http://{HOST}:{port}/api and use `flipkd deploy`; else choose --port"
            ) from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make Prefect's folder, and hold it: two servers on one database have the same deployments.

    The second would put its config in the place of the first one's, and either worker would take any run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "flipkd-serve.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise FlipkdError(
            f"another `flipkd serve` runs on Prefect's folder {folder}, and its deployments would become this "
            "one's; end it, or give this one a folder of its own (--home FOLDER, or $PREFECT_HOME)"
        ) from None
    except OSError as error:
        raise FlipkdError(f"Prefect's folder {folder} cannot be used: {error.strerror}. Choose --home") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block, and ignore more of them while it cleans up."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        raise Stopped

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.suppress(Stopped):
            yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def _child(env: dict[str, str], output: BinaryIO | None, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `prefect` command as a process group of its own: Ctrl-C reaches it through us alone, in order."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "prefect", *arguments],  # no package of the folder that we stand in
        env=env,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _end_group(child)


@contextlib.contextmanager
def _runs(worker: subprocess.Popen[bytes]) -> Iterator[set[psutil.Process]]:
    """The processes of the worker's flow runs, as far as the block has seen them; ended when it ends.

    The worker would end them too, but leave the runs Running. Asked themselves, they report that they Crashed, so
    they go first, while worker and server are there. A worker that was killed leaves them behind.
    """
    seen: set[psutil.Process] = set()
    try:
        yield seen
    finally:
        seen |= _children(worker)
        for run in seen:
            with contextlib.suppress(psutil.NoSuchProcess):  # it also knows when another has got the number since
                run.terminate()
        _, alive = psutil.wait_procs(list(seen), timeout=STOP_SECONDS)
        for run in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                run.kill()


def _children(worker: subprocess.Popen[bytes]) -> set[psutil.Process]:
    try:
        return set(psutil.Process(worker.pid).children())
    except psutil.NoSuchProcess:
        return set()


def _end_group(child: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            child.poll()  # reap it, so that the group can become empty
            if not _group_lives(child.pid):
                return
            time.sleep(0.1)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _wait_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise FlipkdError(f"the server ended at once (exit status {server.returncode}); {log} says why")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/api/health", timeout=2).is_success:
                return
        time.sleep(0.5)
    raise FlipkdError(f"the server on {url} is not healthy after {START_SECONDS} s; see {log}")
