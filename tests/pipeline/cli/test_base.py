"""What all commands share: how an error, a full disk and Ctrl-C end one."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from data.errors import FlipkdError
from pipeline.cli.base import STOPPED, Guarded, examples


def _end(error: BaseException, *arguments: str) -> Any:
    app = typer.Typer(cls=Guarded)

    @app.callback()
    def main(debug: bool = False) -> None: ...

    @app.command()
    def work() -> None:
        raise error

    return CliRunner().invoke(app, [*arguments, "work"])


def test_what_a_user_can_mend_is_one_message_and_exit_code_1() -> None:
    result = _end(FlipkdError("pairs.csv, row 3: the label is 2; write 0 or 1"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: pairs.csv, row 3: the label is 2; write 0 or 1\n"


def test_a_message_cannot_steer_the_terminal() -> None:
    """Texts of users stand in messages: a colour or a bell in them is shown, not obeyed."""
    assert "\x1b" not in _end(FlipkdError("row 3: \x1b[2Jgone")).stderr


def test_a_full_disk_is_named_and_other_system_errors_are_our_fault() -> None:
    result = _end(OSError(errno.ENOSPC, "No space left on device"))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert isinstance(_end(OSError(errno.EBADF, "Bad file descriptor")).exception, OSError)


def test_ctrl_c_says_what_stays_and_exits_with_130() -> None:
    result = _end(KeyboardInterrupt())
    assert (result.exit_code, result.stderr) == (130, f"{STOPPED}\n")


@pytest.mark.parametrize("error", [FlipkdError("no"), OSError(errno.ENOSPC, "full")])
def test_debug_shows_where_it_came_from(error: Exception) -> None:
    assert _end(error, "--debug").exception is error


def test_examples_stand_one_a_line() -> None:
    assert examples("flipkd run a.yaml", "flipkd run b.yaml").split("\n\n") == [
        "Examples:", "  flipkd run a.yaml", "  flipkd run b.yaml",
    ]  # fmt: skip
