"""Rows in the RocksDB store, none of whose errors leaves this module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import rocksdict

from streams.statuses.store_owner import SetAside


class RocksRows:
    """Rows in the store above. No error of RocksDB leaves it: the partition goes on without its store."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return the raw row of `key`, or None; also None where it cannot be read, or nothing is open."""
        db = self._store._dbs.get(partition)  # Faust opens it with the assignment, and closes it
        if db is None:
            return None
        try:
            found: bytes | None = db.get(key)
        except Exception as error:
            self._store.failed(partition, error)
            return None
        return found

    def put(
        self, partition: int, changes: Mapping[bytes, bytes | None], contained: int | None = None
    ) -> None:
        """Apply `changes` as one batch, with the offset that they bring the store to."""
        db = self._store._dbs.get(partition)
        if db is None:
            return
        try:
            write_rows(db, changes, contained, self._store.offset_key)
        except Exception as error:
            self._store.failed(partition, error)

    def keys(self, partition: int) -> Iterator[bytes]:
        """Walk over the keys of a partition as they are now, as long as its store stays open."""
        return (key for key, _ in self.items(partition))

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Walk over the keys and the raw rows of a partition, in the same way."""
        db = self._store._dbs.get(partition)
        if db is None:
            return
        try:
            for key, raw in db.items():
                if self._store._dbs.get(partition) is not db:
                    return
                if key != self._store.offset_key:
                    yield key, raw
        except Exception as error:
            if self._store._dbs.get(partition) is db:
                self._store.failed(partition, error)

    def away(self, partition: int) -> str | None:
        """Return why the partition's store cannot be used now, or None."""
        reason: str | None = self._store.away.get(partition)
        return reason

    def opening(self, partition: int) -> int | None:
        """Return the number of the store's opening that is in use; None: its rows are missing."""
        number: int = self._store.openings[partition]
        return number if partition in self._store._dbs else None

    def begin(self, partition: int, known: int | None) -> int | None:  # noqa: ARG002 - port
        """Open the store if it is not open, and return which offset of the changelog it contains."""
        contained: int | None = self._store.contained(partition)
        return contained

    def begin_anew(self, partition: int, reason: SetAside) -> None:
        """Set the store aside, as it contains more than its changelog, and open a new one."""
        self._store.begin_anew(partition, reason)


def write_rows(
    db: Any, changes: Mapping[bytes, bytes | None], contained: int | None, offset_key: bytes
) -> None:
    """Write `changes` and the offset that they bring the database to, all or nothing."""
    batch = rocksdict.WriteBatch(raw_mode=True)
    for key, raw in changes.items():
        if raw is None:
            batch.delete(key)
        else:
            batch.put(key, raw)
    if contained is not None:
        batch.put(offset_key, b"%d" % contained)  # as Faust's set_persisted_offset has it
    db.write(batch)
