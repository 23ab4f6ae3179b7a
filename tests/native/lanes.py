"""A lane with the native pass and one without it, which take the same log."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.delivery.batches import BATCH_BYTES, fill_batches
from streams.delivery.fetched import InBatch
from streams.delivery.fetched_lane import FetchedLane
from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.transaction import BatchRefused, Outgoing, Position, TransactionFailed
from streams.messages.email import EmailWriter
from streams.native.email_pass import NativePartition
from streams.native.fetches import Gathering
from streams.native.passes import NativePasses
from streams.observability.metric_catalogue import JUDGED, TRANSACTIONS, TRANSACTIONS_FAILED
from streams.observability.metrics import Metrics
from tests.fuzz.wire import read
from tests.native.both_paths import unpacked
from tests.native.built import NOW, PARTITION, TOPIC, KnownStatuses, library, processor

#: Bytes of a fetch, and the aborted transactions in it.
Fetch = tuple[bytes, Sequence[tuple[int, int]]]


class Port:
    """Transactions whose batches are filled as for Kafka, and which fail as a test says."""

    def __init__(self, endings: Iterable[str] = ()) -> None:
        """End transactions as `endings` say: "done", "failed", "lost" (done, and nobody knows), "refused"."""
        self.endings = deque(endings)
        self.position = Position(0, "")
        self.written: dict[str, list[tuple[Any, ...]]] = {"emails": [], "dlq": []}
        self.in_batches = 0  # transactions with a batch that a pass has filled
        self._producer = SimpleNamespace(
            create_batch=lambda: BatchBuilder(BATCH_BYTES, 0, is_transactional=True),
            _txn_manager=SimpleNamespace(transactional_id="id"),
        )

    async def open(self) -> Position:
        return self.position

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        await asyncio.sleep(0.001)
        ending = self.endings.popleft() if self.endings else "done"
        limits = {"emails": 1 << 20, "dlq": 2 << 20}
        batches = fill_batches(self._producer, records, PARTITION, limits)
        self.in_batches += any(type(record) is InBatch for record in records)
        if ending == "refused":
            raise BatchRefused("InvalidRecordError")
        if ending == "failed":
            raise TransactionFailed("Failed")
        for batch in batches:
            batch.builder._set_producer_state(7, 0, 0)
            raw = bytes(batch.builder._build())
            self.written[batch.topic] += [(r.key, r.value, [*r.headers]) for r in read(raw)]
        self.position = Position(offset, metadata)
        if ending == "lost":
            raise TransactionFailed("TimeoutError")

    async def close(self) -> None:
        pass


class Taken:
    """What a lane made of a log."""

    def __init__(self, port: Port, metrics: Metrics, lane: Lane) -> None:
        self.written = port.written
        self.offset = port.position.offset
        self.in_batches = port.in_batches
        self.held = lane._held_bytes, lane.uncommitted, lane.in_flight
        self.judged = Counter(metrics.counts(JUDGED))
        but = (JUDGED.name, TRANSACTIONS.name, TRANSACTIONS_FAILED.name)
        self.counts = {name: +counts for name, counts in metrics._counts.items() if name not in but}
        self.delays = metrics._delay.counts


def native_passes(statuses: KnownStatuses, judge: Any, metrics: Metrics) -> NativePasses:
    """Return the passes of a lane whose batches have 20,000 bytes at most."""
    made = library()
    return NativePasses(
        lambda: NativePartition(
            made, EmailWriter(TOPIC, PARTITION), statuses.index, statuses.known, judge.without_asking, None
        ),
        TopicPartition(TOPIC, PARTITION),
        emails_topic="emails",
        room=lambda: 20_000,
        understood=judge.understood,
        now=lambda: NOW,
        count=metrics.judged,
    )


async def taken(
    fetches: Sequence[Fetch], statuses: KnownStatuses, endings: Iterable[str] = (), *, natively: bool
) -> Taken:
    """Let a lane take what was fetched, with transactions that end so."""
    port, metrics = Port(endings), Metrics(TOPIC, "statuses", named=lambda _: True, now=lambda: NOW)
    judge = processor(statuses)
    crashes: list[Exception] = []
    more: dict[str, Any] = {}
    if natively:
        more["passes"] = native_passes(statuses, judge, metrics)
    lane = (FetchedLane if natively else Lane)(
        PARTITION,
        port,
        judge,
        metrics,
        clock=asyncio.get_running_loop().time,
        on_crash=crashes.append,
        limits=LaneLimits(backoff=0.0, ready=100),
        **more,
    )

    async def begin(committed: Position) -> Position:
        return committed

    await lane.open(begin)
    next_offset = 0
    for raw, aborted in fetches:
        whole = Gathering(library())(raw, aborted, next_offset) if natively else None
        if whole is None:
            records = unpacked(raw, aborted, next_offset)
            records.with_stand_ins = True
            chunk = list(records)
            next_offset = records.next_fetch_offset
        else:
            chunk, next_offset = [whole] if whole.count else [], whole.offset + 1
        if chunk:
            lane.offer(chunk)
        await asyncio.sleep(0.0005)
    while lane.has_work:
        assert not crashes, crashes
        await asyncio.sleep(0.01)
    await lane.close()
    assert not crashes, crashes
    return Taken(port, metrics, lane)
