"""Who may read what is written: the modes that the umask gives, whatever library wrote the file."""

from __future__ import annotations

from pathlib import Path


def obey_umask(folder: Path) -> None:
    """Give every file below a folder the mode of a new file: safetensors lets nobody but the owner read.

    Links stay as they are.
    """
    probe = folder / ".mode"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)
