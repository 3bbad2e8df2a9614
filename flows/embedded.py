"""Prefect's embedded server, which lives exactly as long as the run that it serves.

Ctrl-C in a terminal, `timeout`, Slurm and systemd send their signal to every process of a run. The server would be
gone first, and the run would wait more than a minute for it while it tells how it ended. And a run that is killed
outright would leave the server behind.
"""

from __future__ import annotations

import signal
import subprocess
from typing import Any

from prefect.server.api.server import SubprocessASGIServer

STOPS = {signal.SIGINT, signal.SIGTERM}


class BoundServer(SubprocessASGIServer):
    """The embedded server, deaf to what stops the run; the run ends it, or whoever watches over the run does.

    Prefect keeps one server for each port: made before Prefect asks for its own, this is the one that it starts.
    """

    _watcher: subprocess.Popen[bytes] | None = None

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            return super()._run_uvicorn_command()
        self._dismiss_watcher()  # of a server whose port was taken
        # A blocked signal stays blocked in the process that is started, whatever handler it installs.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            server = super()._run_uvicorn_command()
            # Reads a pipe that this process alone holds: its end is the end of this process, however that came.
            watch = f"cat > /dev/null; kill -9 {server.pid}"
            self._watcher = subprocess.Popen(["sh", "-c", watch], stdin=subprocess.PIPE)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return server

    def stop(self) -> None:
        self._dismiss_watcher()
        if self.server_process:
            self.server_process.kill()
        super().stop()

    def _dismiss_watcher(self) -> None:
        if self._watcher:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None
