"""A changelog of a few lines, and real Faust stores without a running app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faust
from faust.stores import STORES

SentRow = tuple[bytes | None, bytes | None, list[Any]]

CHANGELOG = "test-supporter-status-changelog"


class FakeChangelog:
    """Takes rows as the producer does; `trouble` is what the next sends end with."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, list[SentRow]]] = []
        self.trouble: list[Exception] = []
        self.gate: asyncio.Event | None = None  # sends wait here
        self.offset = -1

    async def send_many(self, topic: str, partition: int, rows: Iterable[SentRow]) -> int | None:
        given = list(rows)
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble:
            raise self.trouble.pop(0)
        self.sent.append((topic, partition, given))
        self.offset += len(given)
        return self.offset if given else None

    def values(self, topic: str = CHANGELOG) -> list[tuple[bytes | None, bytes | None]]:
        """Key and value of everything that is in `topic`."""
        return [(key, value) for there, _, rows in self.sent if there == topic for key, value, _ in rows]


def faust_table(store: str, folder: Path, *partitions: int, **more: Any) -> Any:
    """A real Faust table whose store has `partitions` open, as after an assignment. Needs a running loop."""
    app = faust.App("test", env={}, broker="kafka://127.0.0.1:1", store=f"{store}://", datadir=str(folder))
    STORES.aliases["rocksdb"] = "streams.statuses.rocksdb:Store"
    options = {"driver": "rocksdict", "block_cache_size": 1 << 20, **more} if store == "rocksdb" else {}
    table = app.Table("supporter-status", key_type=bytes, value_type=bytes, options=options)
    app.finalize()
    if store == "rocksdb":
        for partition in partitions:
            table.data._db_for_partition(partition)
    return table
