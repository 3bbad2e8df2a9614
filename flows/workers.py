"""Students made beside each other, each in a process of its own, which takes its memory and its trouble along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from data.errors import FlipkdError
from pipeline.terminal.log_lines import set_up_logging, speak_as

P = ParamSpec("P")
R = TypeVar("R")


def in_process(name: str, threads: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a new process, and wait for it.

    Args:
        name: its log lines begin with it. threads: for a matrix product.

    Raises:
        FlipkdError: from the function, or the process was killed.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin, initargs=(name, threads)) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            raise FlipkdError(
                "its process was killed, most likely because the memory was full; run again with a smaller "
                "--jobs, and it goes on from its last checkpoint"
            ) from None


def _begin(name: str, threads: int) -> None:
    # Before torch is imported, which reads it once. Whoever has set it knows better.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # Ctrl-C in a terminal reaches every process; the first one says so once and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up_logging()
    speak_as(name)


def _end_with_parent() -> None:
    """End this process when the first one is gone: it would train on unseen, beside the run that takes over."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


@contextmanager
def processes_ended_if_stopped() -> Iterator[None]:
    """End the processes at once when a signal ends the block: Prefect would wait until each has made its student.

    What they were training goes on from its last checkpoint.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
