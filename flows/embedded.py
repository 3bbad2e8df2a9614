"""Prefect's embedded server, kept alive until the run that it serves has ended.

Ctrl-C in a terminal, `timeout`, Slurm and systemd send their signal to every process of a run. The server would be
gone first, and the run would wait more than a minute for it while it tells how it ended.
"""

from __future__ import annotations

import signal
import subprocess
from typing import Any

from prefect.server.api.server import SubprocessASGIServer

STOPS = {signal.SIGINT, signal.SIGTERM}


class DeafServer(SubprocessASGIServer):
    """The embedded server without an ear for what stops the run; the run ends it.

    Prefect keeps one for each port: made before Prefect asks for its own, this is the one that it starts.
    """

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            return super()._run_uvicorn_command()
        # A blocked signal stays blocked in the process that is started, whatever handler it installs.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            return super()._run_uvicorn_command()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        if self.server_process:
            self.server_process.kill()
        super().stop()
