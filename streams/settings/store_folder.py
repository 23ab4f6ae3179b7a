"""The folder of the store: for one worker at a time, and for no other user's eyes."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

#: The name of the lock file in the folder.
LOCK = "worker.lock"


class FolderInUse(Exception):
    """Another worker uses the folder. The text is one sentence for a person."""

    #: The exit code of a worker that ends because of this, as for other wrong settings.
    exit_code = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"STREAMS_STORE_FOLDER={folder} is in use by another worker: a folder is for one worker"
        )


def lock(folder: Path) -> int:
    """Take the folder for this process; the kernel gives it free when the process ends, also by a kill.

    Args:
        folder: exists.

    Returns:
        The file descriptor that keeps the lock until it is closed.

    Raises:
        FolderInUse: another worker has it.
        OSError: the lock file cannot be made.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(descriptor)
            raise FolderInUse(folder) from None
        # A file system without locks: RocksDB's own lock of each partition has to do.
    return descriptor


def holder(folder: Path) -> int | None:
    """Return the id of the process that has the folder, without asking for its lock; None: nobody is seen.

    Linux lists the locks of the processes that this one can see. To try the lock, for a moment only, would
    refuse a worker that starts in that moment.

    Raises:
        OSError: the folder cannot be looked into.
    """
    try:
        inode = (folder / LOCK).stat().st_ino
        listed = Path("/proc/locks").read_text()
    except FileNotFoundError:
        return None
    for line in listed.splitlines():
        # 1: FLOCK  ADVISORY  WRITE 4711 08:01:131075 0 EOF. The device is another one on some file systems.
        _, kind, *_, pid, place, _, _ = line.split()
        if kind == "FLOCK" and place.rpartition(":")[2] == str(inode):
            return int(pid)
    return None


def make_private(folder: Path) -> None:
    """Let this user alone read what is in the folder, and what this process makes from now on.

    The folder may belong to another user, as the root of a mounted volume does; it then stays as it is.
    """
    os.umask(0o077)
    for path, _, files in os.walk(folder):
        with suppress(OSError):
            Path(path).chmod(0o700)
        for name in files:
            with suppress(OSError):
                (Path(path) / name).chmod(0o600)
