"""How flipkd's own log lines look on the command line."""

from __future__ import annotations

import logging
import sys
import warnings

from pipeline.terminal.visible import visible

LIBRARIES = (
    "torch",
    "transformers",
    "sentence_transformers",
    "peft",
    "accelerate",
    "datasets",
    "prefect",
    "pydantic",
)


def set_up_logging(debug: bool = False) -> None:
    """Send flipkd's log lines to stderr, with the time; warnings stand out.

    Only the logger `flipkd` is touched: who uses flipkd as a library keeps their own logging.
    """
    logger = logging.getLogger("flipkd")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    if not debug:  # advice for who programs against these libraries, not for who runs flipkd
        for library in LIBRARIES:
            warnings.filterwarnings("ignore", module=rf"{library}\b")
    if any(isinstance(handler, Line) for handler in logger.handlers):
        return
    logger.addHandler(Line())
    # Prefect hangs a handler of its own on the root logger, which would say everything twice.
    logger.propagate = False


def speak_as(name: str) -> None:
    """Begin every further line with a name: several processes write to one terminal."""
    for handler in logging.getLogger("flipkd").handlers:
        if isinstance(handler, Line):
            handler.speaker = f"{name}: "


class Line(logging.Handler):
    """One line on whatever stderr is now, so that a progress bar above it is not torn."""

    speaker = ""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            mark = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
            text = f"{self._time(record)}  {self.speaker}{mark}{record.getMessage()}"
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
            sys.stderr.write(visible(text) + "\n")
            sys.stderr.flush()
        except Exception:  # a broken stderr must not stop the work
            self.handleError(record)

    @staticmethod
    def _time(record: logging.LogRecord) -> str:
        return logging.Formatter().formatTime(record, "%H:%M:%S")
