"""The lock of the store: it dies with its holder."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data.errors import FlipkdError
from pipeline.store.disk import CHOOSE

log = logging.getLogger("flipkd.run")


class StoreLock(FileLock):
    """An operating-system lock, which dies with its holder. Its file stays for ever.

    Unlinking a lock file is unsafe: who opened it before the unlink and who creates it after hold locks on two
    files of one name. An empty file costs nothing.
    """

    def acquire(self, *args: Any, **kwargs: Any) -> Any:
        """As `FileLock.acquire`; says in the log that it waits.

        Raises:
            Timeout: somebody else holds it, and a timeout was given.
            FlipkdError: the lock file cannot be made, or the file system has no locks.
        """
        try:
            if args or kwargs:
                return super().acquire(*args, **kwargs)
            try:
                return super().acquire(timeout=0)
            except Timeout:
                log.info("waiting for another process, which holds %s", Path(self.lock_file).stem)
            return super().acquire()
        except Timeout:
            raise
        except (OSError, NotImplementedError) as error:
            code = getattr(error, "errno", None)
            if code in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP} or isinstance(error, NotImplementedError):
                reason = "its file system has no locks; mount it with locks, or"
            else:
                reason = f"{os.strerror(code) if code else error}. Make the store writable, or"
            raise FlipkdError(f"cannot lock {self.lock_file}: {reason} {CHOOSE}") from None

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock if nobody else does, without waiting; yields whether it is held."""
        try:
            self.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            self.release()
