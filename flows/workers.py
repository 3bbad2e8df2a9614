"""The processes that make several students at a time: how they begin, and that none outlives the comparison."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.log_setup import set_up_logging


def begin_worker(threads: int) -> None:
    """Set up a process of the pool, with so many threads for a product.

    Ctrl-C in a terminal reaches every process; the comparison's own says so once and ends the others.
    """
    # Before torch is imported, which reads it once. Whoever has set it knows better.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up_logging()


def _end_with_parent() -> None:
    """End this process when the comparison is gone: it would train on unseen, beside the run that takes over."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


@contextmanager
def workers_ended_if_stopped() -> Iterator[None]:
    """End the processes at once when a signal ends the block: Prefect would wait until each has made its student.

    What they were training goes on from its last checkpoint.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise


def give_back_memory() -> None:
    """Let the system have what the last student used: glibc keeps it, and a worker grew to 11 GB in four."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL("libc.so.6").malloc_trim(0)
