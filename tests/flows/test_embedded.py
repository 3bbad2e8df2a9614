"""What `flows.embedded` takes of Prefect's own server."""

from __future__ import annotations

import inspect

from prefect.server.api.server import SubprocessASGIServer


def test_prefect_still_starts_its_server_where_ours_steps_in() -> None:
    """A private method: without it the embedded server would hear Ctrl-C again, and nobody would say so."""
    assert list(inspect.signature(SubprocessASGIServer._run_uvicorn_command).parameters) == ["self"]
    assert "_run_uvicorn_command()" in inspect.getsource(SubprocessASGIServer.start)
