"""The statuses that the native pass knows: a cache of the table in memory that grows up to a bound.

A status that is missing here is asked of the table, so any may be given up at any time. What is here must be
what the table has at that moment: whoever changes the table changes the index first
(``streams/statuses/indexed_rows.py``).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any

from streams.native.library import NEVER

#: Bytes of a secret.
_SECRET = 16
#: Milliseconds since the epoch of what expires last; below NEVER, and far beyond any clock.
_LATEST_MS = 2.0**62


class StatusIndex:
    """Memory for the statuses of all partitions of a worker. Any thread may use it."""

    def __init__(self, library: Any, most_bytes: int) -> None:
        """Take at most `most_bytes` of memory for entries: 20 to 28 for each status that is known.

        Raises:
            MemoryError: there is not so much.
        """
        self._library = library
        self.pointer: int | None = library.cs_index_new(most_bytes)
        if self.pointer is None:
            raise MemoryError("the index of statuses")
        #: Nothing is put with it, so nothing is found with it.
        self.nobody_s_secret = os.urandom(_SECRET)

    def __del__(self) -> None:
        if getattr(self, "pointer", None) is not None:
            self._library.cs_index_free(self.pointer)


class PartitionStatuses:
    """The statuses of one partition. No method waits."""

    def __init__(self, index: StatusIndex, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Begin with none. The secret of their fingerprints is made of `random_bytes`."""
        self._index = index  # whose memory must stay
        self._random_bytes = random_bytes
        self._library, self._pointer = index._library, index.pointer
        self._begin()

    def _begin(self) -> None:
        self._secret = self._random_bytes(_SECRET)
        self._library.cs_index_use(self._pointer, self._secret)
        self._given_up_before = self._library.cs_index_given_up(self._pointer, self._secret)

    def __del__(self) -> None:
        if hasattr(self, "_given_up_before"):
            self._library.cs_index_release(self._pointer, self._secret)

    @property
    def given_up(self) -> int:
        """Entries that were given up for want of room since all were forgotten last.

        0: what was put and not forgotten is there. Another partition's entries may be counted, too, so more
        than 0 says nothing of one key. Read it after the look-up that it is to vouch for.
        """
        given_up = self._library.cs_index_given_up(self._pointer, self._secret)
        return int(given_up - self._given_up_before)

    @property
    def secret(self) -> bytes:
        """What the fingerprints are made with: no sender can make two keys with one fingerprint."""
        return self._secret

    def put(self, rows: Mapping[bytes, tuple[bool, float | None]]) -> None:
        """Note statuses.

        Args:
            rows: by ``orgId:contactRef``: whether somebody is subscribed, and until when that holds, in
                seconds since the epoch; None: it does not expire. Here it may expire up to a second earlier.
        """
        expires = [_milliseconds(expires_at) for _, expires_at in rows.values()]
        self._library.cs_index_put(
            self._pointer,
            self._secret,
            *_packed(rows),
            struct.pack(f"{len(rows)}q", *expires),
            bytes([subscribed for subscribed, _ in rows.values()]),
        )

    def forget(self, keys: Collection[bytes]) -> None:
        """Forget the statuses of some keys."""
        self._library.cs_index_forget(self._pointer, self._secret, *_packed(keys))

    def forget_all(self) -> None:
        """Forget all statuses of this partition."""
        self._library.cs_index_release(self._pointer, self._secret)
        self._begin()

    def subscribed(self, key: bytes, now: float) -> bool | None:
        """Return the status of a key at `now` (seconds since the epoch); None where it is not known here."""
        found = self._library.cs_index_look_up(self._pointer, self._secret, key, len(key), int(now * 1000))
        return None if found < 0 else bool(found)


def _milliseconds(expires_at: float | None) -> int:
    # A row may name any number: one beyond what a float holds in milliseconds is infinite.
    return NEVER if expires_at is None else int(max(0.0, min(expires_at * 1000, _LATEST_MS)))


def _packed(keys: Collection[bytes]) -> tuple[bytes, bytes, int]:
    """Return keys as C takes them: their bytes, the length of each, and how many they are."""
    return b"".join(keys), struct.pack(f"{len(keys)}I", *map(len, keys)), len(keys)
