"""`flipkd serve-student`: load a student, listen, answer until Ctrl-C."""

from __future__ import annotations

import ipaddress
import logging
from pathlib import Path

import uvicorn

from data.errors import FlipkdError
from models.student.load import load_student
from pipeline.service.app import create_app
from pipeline.stages.export.catalogue_search import open_catalogue

log = logging.getLogger("flipkd.service")


def serve_student(
    student: Path,
    *,
    host: str,
    port: int,
    catalogue: Path | None = None,
    text: str = "title",
    candidates: int = 10,
    trust_remote_code: bool = False,
) -> None:
    """Answer until this process is told to end.

    Args:
        text: the column of the catalogue's texts.

    Raises:
        FlipkdError: the student or the catalogue cannot be used, or the port cannot be had.
    """
    if catalogue is None:
        app = create_app(load_student(student, trust_remote_code=trust_remote_code))
    else:
        opened = open_catalogue(student, catalogue, text=text, trust_remote_code=trust_remote_code)
        app = create_app(opened.student, opened, candidates)
    if not _is_loopback(host):
        log.warning("service: whoever reaches %s may ask: there is no log-in", host)
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_keep_alive=30))
    try:
        socket = server.config.bind_socket()
    except SystemExit:  # uvicorn's own way to say so
        raise FlipkdError(f"port {port} of {host} cannot be had; give another one (--port)") from None
    socket.listen(server.config.backlog)  # who reads the address below may ask at once
    at, number, *_ = socket.getsockname()
    log.info(
        "service: http://%s:%d answers /match, /embed%s, /health", at, number, ", /search" if catalogue else ""
    )
    server.run([socket])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
