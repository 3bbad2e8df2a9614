"""Log lines on stderr: the time, what stands out, and nothing that moves the cursor."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

from tests.checkout import ROOT


def lines(code: str) -> list[str]:
    start = "import logging; from pipeline.terminal.log_lines import set_up_logging, speak_as\n"
    command = [sys.executable, "-c", start + code]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stderr.splitlines()


def test_a_line_has_the_time_and_its_level_from_warnings_on() -> None:
    told = lines(
        "set_up_logging(); set_up_logging(); log = logging.getLogger('flipkd.run')\n"
        "log.info('one %d', 1); log.warning('two'); log.debug('not shown'); speak_as('b'); log.info('three')"
    )
    assert [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in told] == ["one 1", "WARNING: two", "b: three"]
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in told)


def test_debug_shows_more_and_texts_cannot_move_the_cursor() -> None:
    told = lines("set_up_logging(True); logging.getLogger('flipkd').debug('a\\x1b[2Jb')")
    assert told[0].endswith(r"a\x1b[2Jb")


def test_who_uses_flipkd_as_a_library_keeps_their_logging() -> None:
    told = lines(
        "logging.basicConfig(format='mine: %(message)s', level=logging.INFO); set_up_logging()\n"
        "logging.getLogger('other').info('x'); logging.getLogger('flipkd').info('y')"
    )
    assert told[0] == "mine: x"
    assert told[1].endswith("  y")
    assert len(told) == 2


def test_an_error_brings_its_traceback() -> None:
    told = lines(
        "set_up_logging()\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n"
        "    logging.getLogger('flipkd').exception('it failed')"
    )
    assert told[0].endswith("ERROR: it failed")
    assert told[-1] == "ZeroDivisionError: division by zero"
    assert logging.getLogger("flipkd").name == "flipkd"
