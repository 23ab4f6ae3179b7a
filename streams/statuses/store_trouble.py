"""What can be wrong with a partition's store, in the words of the worker's log and of ``streams doctor``."""

from __future__ import annotations

import re

from streams.statuses.store_owner import SetAside

#: Why a store is set aside.
WHY = {
    SetAside.DAMAGED: "it is damaged",
    SetAside.AHEAD: "it contains more than its changelog does",
    SetAside.FOREIGN: "it was made for another group, cluster or changelog topic",
    SetAside.UNMARKED: "nothing in it says for which group and changelog topic it was made",
    SetAside.UNREADABLE: "a batch of its changelog cannot be read, and older rows may not hold any more",
}
#: What becomes of a store that is set aside, and what a person does about it.
RESTORED = (
    "it is restored from the changelog; if this happens again, look at the disk and at STREAMS_STORE_FOLDER"
)
#: What becomes of a store that cannot be used now.
AWAY = "until it can, its statuses count as missing, emails leave all the same, and no restart is needed"
FULL = "its disk is full (no space left)"
LOCKED = "this process has not let go of it yet"
#: Bytes that the store of a partition holds in memory before it writes them to the disk at once. Measured
#: with a million rows: Faust's 64 MiB a partition kept 70 MB more, and were slower to write.
WRITE_BUFFER = 4 << 20

#: What RocksDB says where the database is as it should be, and its surroundings are not.
_NO_ROOM = re.compile(r"No space left|Disk quota exceeded")
_IN_USE = re.compile(r"/LOCK: ")
_SURROUNDINGS = re.compile(r"Permission denied|Read-only file system|Too many open files|Input/output error")


def is_passing(error: Exception) -> bool:
    """Return whether the surroundings of the store are to blame, and not what is in it."""
    if isinstance(error, OSError):
        return True
    text = str(error)
    return any(pattern.search(text) for pattern in (_NO_ROOM, _IN_USE, _SURROUNDINGS))


def reason_of(error: Exception) -> str:
    """Return why the store cannot be used now, without what is in it."""
    text = str(error)
    if _NO_ROOM.search(text):
        return FULL
    if _IN_USE.search(text):
        return LOCKED
    if (found := _SURROUNDINGS.search(text)) is not None:
        return surroundings(found[0])
    return f"it cannot be opened ({type(error).__name__})"


def surroundings(error: str) -> str:
    """Return the reason for an error of the operating system, by its text."""
    return f"the disk or its rights ({error})"
