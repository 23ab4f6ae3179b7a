"""What a store that comes back reads; tests/integration/test_store.py brings stores back under a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from streams.messages.unreadable import UnreadableRecords
from streams.statuses.repair import StoreRepair
from streams.statuses.store_owner import SetAside

CHANGELOG = TopicPartition("changelog", 2)


@dataclass(frozen=True)
class FakeRecord:
    offset: int
    key: bytes | None
    value: bytes | None


class FakeConsumer:
    """Gives one chunk of records after the other."""

    def __init__(self, *chunks: list[Any]) -> None:
        self._chunks = list(chunks)
        self._position = 0

    async def position(self, _: TopicPartition) -> int:
        return self._position

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        chunk = self._chunks.pop(0)
        self._position = chunk[-1].offset + 1
        return {CHANGELOG: chunk}


class FakeStore:
    """A store that comes back, as a dict."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes | None] = {}
        self.contained = -1
        self.reasons: list[SetAside] = []

    def write_returning(self, partition: int, changes: Mapping[bytes, bytes | None], contained: int) -> None:
        assert partition == CHANGELOG.partition
        self.rows.update(changes)
        self.contained = contained

    def set_aside(self, _: int, reason: SetAside) -> None:
        self.rows.clear()
        self.reasons.append(reason)

    def begin_return(self, _: int) -> int | None:
        return None


async def test_rows_from_before_a_batch_that_cannot_be_read_are_forgotten() -> None:
    """As in a recovery: it may have replaced any of them, so the store is set aside and begun anew."""
    store = FakeStore()
    unreadable = UnreadableRecords(2, 4, "its header is wrong")
    consumer: Any = FakeConsumer(
        [FakeRecord(0, b"a", b"yes")], [FakeRecord(1, b"b", b"yes"), unreadable], [FakeRecord(5, b"c", b"no")]
    )
    await StoreRepair._read(consumer, store, CHANGELOG, 6)
    assert (store.rows, store.contained) == ({b"c": b"no"}, 5)
    assert store.reasons == [SetAside.UNREADABLE]
