"""Faust's consumer, delivering chunks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import TopicPartition
from faust.types import TP

from streams.kafka.chunks import Chunk, ChunkSchema
from streams.kafka.consumer import ChunkConsumer
from streams.kafka.faust_driver import SCHEME
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import administering, happens, make_topics
from tests.faults.kafka_proxy import Api, HoldRequest, KafkaProxy
from tests.integration.topics import producing

OWNED, PLAIN, STOCK = "owned", "plain", "stock"


@dataclass(frozen=True)
class FakeRecord:
    """A record as aiokafka hands it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int = 1_764_000_000_000
    timestamp_type: int = 0
    value: bytes = b""


@dataclass
class FakeOwner:
    """Takes what the test lets it take, and remembers what it was told."""

    accepting: set[int] = field(default_factory=set)
    told: list[tuple[Any, ...]] = field(default_factory=list)

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        self.told.append(("assigned", set(partitions), generation))

    async def revoked(self, partitions: Iterable[int]) -> None:
        self.told.append(("revoked", set(partitions)))

    def accepts(self, partition: int) -> bool:
        return partition in self.accepting

    def interrupted(self, partition: int) -> None:
        self.told.append(("interrupted", partition))

    def is_doubted(self, partition: int) -> bool:
        return ("interrupted", partition) in self.told


class Bench:
    """A real consumer of an app that is not started; it knows three topics."""

    def __init__(self, chunk: int = 3) -> None:
        self.owner = FakeOwner({0, 1})
        self.app = faust.App("test", env={}, broker=f"{SCHEME}://127.0.0.1:1", store="memory://")
        self.delivered: list[Any] = []
        self.handed_over = 0  # times
        self.full: asyncio.Event | None = None  # the agent's queue has no room until it is set
        nobody: Any = self._nobody
        consumer = self.app.transport.create_consumer(
            callback=self._callback, on_partitions_revoked=nobody, on_partitions_assigned=nobody
        )
        assert isinstance(consumer, ChunkConsumer)
        self.consumer = consumer
        self.consumer.highwater = lambda _: 0  # type: ignore[method-assign]  # nobody is connected
        schemas = {OWNED: ChunkSchema(chunk, self.owner), PLAIN: ChunkSchema(chunk), STOCK: None}
        index: Any = self.app.topics._topic_name_index
        for name, schema in schemas.items():
            index[name] = {self.app.topic(name, schema=schema)}
        self.app.consumer_generation_id = 7

    async def _callback(self, message: Any) -> None:
        if self.full is not None:
            await self.full.wait()
        self.delivered += message.value if isinstance(message.value, list) else [message]
        self.handed_over += 1

    async def _nobody(self, *_: Any) -> None:
        pass

    async def deliver(self, *records: FakeRecord, active: set[TP] | None = None) -> None:
        fetched: dict[TP, list[FakeRecord]] = {}
        for record in records:
            fetched.setdefault(TP(record.topic, record.partition), []).append(record)
        await self.consumer._deliver(fetched, set(fetched) if active is None else active, 7)

    def offsets(self) -> list[tuple[int, list[int]]]:
        """What was delivered: partition and offsets of each chunk, in order."""
        return [(chunk.partition, [record.offset for record in chunk.records]) for chunk in self.delivered]

    def committable(self) -> dict[TP, int]:
        """What Faust's commit loop would commit now."""
        tps = list(self.consumer._filter_tps_with_pending_acks())
        return {tp: offset for tp in tps if (offset := self.consumer._new_offset(tp)) is not None}


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def records(topic: str, partition: int, *offsets: int) -> list[FakeRecord]:
    return [FakeRecord(topic, partition, offset) for offset in offsets]


# -- delivery --------------------------------------------------------------------------------------------


async def test_partitions_take_turns_chunk_by_chunk() -> None:
    """A partition with much does not make the others wait for all of it; within one, the order stays."""
    bench = Bench(chunk=2)
    await bench.deliver(*records(PLAIN, 0, 1, 2, 3, 4, 5), *records(PLAIN, 1, 8), *records(PLAIN, 2, 6, 7, 9))
    assert bench.offsets() == [(0, [1, 2]), (1, [8]), (2, [6, 7]), (0, [3, 4]), (2, [9]), (0, [5])]


async def test_a_handful_of_several_partitions_is_handed_over_at_once() -> None:
    """The agent has one turn for all of it."""
    bench = Bench(chunk=100)
    await bench.deliver(*records(PLAIN, 0, 1, 2), *records(PLAIN, 1, 8), *records(OWNED, 1, 6))
    assert bench.offsets() == [(0, [1, 2]), (1, [8]), (1, [6])]
    assert bench.handed_over == 2


async def test_what_was_delivered_is_not_delivered_again() -> None:
    """Records before the reading position, e.g. of a fetch that a seek overtook, are left out."""
    bench = Bench(chunk=10)
    await bench.deliver(*records(PLAIN, 0, 3, 4))
    await bench.deliver(*records(PLAIN, 0, 3, 4, 5))
    await bench.deliver(*records(PLAIN, 0, 4, 5))
    assert bench.offsets() == [(0, [3, 4]), (0, [5])]


async def test_records_of_an_earlier_generation_are_dropped() -> None:
    """After a rebalance nothing that was fetched before is delivered, not even the rest of a fetch."""
    bench = Bench(chunk=1)
    bench.app.consumer_generation_id = 8
    await bench.deliver(*records(PLAIN, 0, 1), *records(STOCK, 0, 1))
    assert bench.delivered == []


async def test_a_stopped_flow_delivers_nothing(bench: Bench) -> None:
    """While a rebalance goes on, records stay undelivered, and are read again after it."""
    bench.consumer.stop_flow()
    await bench.deliver(*records(PLAIN, 0, 1))
    assert bench.delivered == []


async def test_partitions_that_were_not_asked_for_are_not_delivered(bench: Bench) -> None:
    """What the client has buffered of a paused partition waits for its turn."""
    await bench.deliver(*records(PLAIN, 0, 1), *records(PLAIN, 1, 1), active={TP(PLAIN, 1)})
    assert bench.offsets() == [(1, [1])]


async def test_a_topic_without_chunks_is_delivered_the_stock_way(bench: Bench) -> None:
    """A table's changelog gets single messages."""
    bench.consumer._to_message = lambda _, record: record  # type: ignore[method-assign]  # records are fakes
    await bench.deliver(*records(STOCK, 0, 1, 2))
    assert bench.delivered == records(STOCK, 0, 1, 2)


async def test_a_chunk_that_waited_in_vain_is_read_again(bench: Bench) -> None:
    """Suspended while the agent's queue was full: it counts as not delivered, and blocks no commit."""
    bench.full = asyncio.Event()
    delivering = asyncio.create_task(bench.deliver(*records(PLAIN, 0, 1)))
    await asyncio.sleep(0)
    assert [bench.consumer.unsettled_chunks(TP(PLAIN, 0), before) for before in (1, 2)] == [0, 1]
    bench.consumer.stop_flow()
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    assert bench.consumer.unsettled_chunks(TP(PLAIN, 0)) == 0
    bench.consumer.resume_flow()
    bench.full = None
    await bench.deliver(*records(PLAIN, 0, 1))
    assert bench.offsets() == [(0, [1])]


async def test_a_cancelled_worker_s_delivery_ends(bench: Bench) -> None:
    """A cancellation that no rebalance explains goes on to whoever cancelled."""
    bench.full = asyncio.Event()
    delivering = asyncio.create_task(bench.deliver(*records(PLAIN, 0, 1)))
    await asyncio.sleep(0)
    delivering.cancel()
    await asyncio.wait({delivering})
    assert delivering.cancelled()


async def test_what_was_fetched_of_a_doubted_partition_is_fetched_again(bench: Bench) -> None:
    """It may be from another log than what its owner has had; the other partitions' records are delivered."""
    sought: list[tuple[TP, int]] = []

    async def seek(tp: TP, offset: int) -> None:
        sought.append((tp, offset))

    bench.consumer._seek = seek  # type: ignore[method-assign]  # nobody is connected
    await bench.deliver(*records(OWNED, 0, 3, 4))
    bench.owner.interrupted(0)
    await bench.deliver(*records(OWNED, 0, 5, 6, 7, 8), *records(OWNED, 1, 1))
    assert bench.offsets() == [(0, [3, 4]), (1, [1])]
    assert sought == [(TP(OWNED, 0), 5)]
    bench.owner.told.clear()
    await bench.deliver(*records(OWNED, 0, 5, 6))
    assert bench.offsets()[2:] == [(0, [5, 6])]


async def test_a_partition_that_is_trusted_again_meanwhile_is_not_gone_on_with_in_its_midst(
    bench: Bench,
) -> None:
    """What follows what is read again in the same fetch would pass over it."""

    async def seek(_: TP, __: int) -> None:
        bench.owner.told.clear()

    bench.consumer._seek = seek  # type: ignore[method-assign]  # nobody is connected
    bench.owner.interrupted(0)
    await bench.deliver(*records(OWNED, 0, 5, 6, 7, 8))
    assert (bench.delivered, bench.owner.is_doubted(0)) == ([], False)
    await bench.deliver(*records(OWNED, 0, 5, 6, 7, 8))
    assert bench.offsets() == [(0, [5, 6, 7]), (0, [8])]


# -- what is fetched -------------------------------------------------------------------------------------


async def test_a_partition_that_its_owner_closed_is_not_fetched(bench: Bench) -> None:
    """Only what its owner accepts is asked for; topics without an owner always are."""
    everything = {TP(OWNED, 0), TP(OWNED, 1), TP(PLAIN, 0), TP(STOCK, 0)}
    bench.consumer._set_active_tps(everything)
    bench.owner.accepting = {1}
    assert bench.consumer._open_partitions() == everything - {TP(OWNED, 0)}
    bench.owner.accepting = {0, 1}
    assert bench.consumer._open_partitions() == everything


async def test_pausing_and_resuming_work_while_an_owner_is_closed(bench: Bench) -> None:
    """Faust pauses what it restores a table without: a closed lane must not make it forget that."""
    everything = {TP(OWNED, 0), TP(PLAIN, 0), TP(STOCK, 0)}
    bench.consumer._set_active_tps(everything)
    bench.owner.accepting = set()
    bench.consumer.pause_partitions(everything)
    assert bench.consumer._open_partitions() == set()
    bench.consumer.resume_partitions({TP(STOCK, 0)})
    assert bench.consumer._open_partitions() == {TP(STOCK, 0)}
    bench.consumer.pause_partitions({TP(STOCK, 0)})
    bench.consumer.resume_partitions({TP(OWNED, 0), TP(PLAIN, 0)})
    assert bench.consumer._open_partitions() == {TP(PLAIN, 0)}
    bench.owner.accepting = {0}
    assert bench.consumer._open_partitions() == {TP(PLAIN, 0), TP(OWNED, 0)}


async def test_a_topic_whose_agent_has_enough_before_it_is_not_fetched() -> None:
    """All its partitions wait until chunks are settled, others do not: no backlog fills the memory."""
    bench = Bench(chunk=1)
    everything = {TP(OWNED, 0), TP(PLAIN, 0), TP(PLAIN, 1), TP(STOCK, 0)}
    bench.consumer._set_active_tps(everything)
    await bench.deliver(*records(PLAIN, 0, *range(5)), *records(PLAIN, 1, *range(3)))
    assert bench.consumer._open_partitions() == {TP(OWNED, 0), TP(STOCK, 0)}
    bench.delivered[3].settle()  # not the first, so that nothing can be committed yet
    assert bench.consumer._open_partitions() == everything


@asynccontextmanager
async def draining(bench: Bench, fetch: Callable[[], Awaitable[Any]]) -> AsyncIterator[asyncio.Task[None]]:
    """Let the consumer fetch and deliver; `fetch` gives what each fetch finds."""

    async def getmany(**_: Any) -> Any:
        return await fetch()

    bench.consumer._getmany = getmany
    bench.consumer._set_active_tps({TP(PLAIN, 0)})
    fetcher: Any = type("Fetcher", (), {"should_stop": False})
    task = asyncio.create_task(bench.consumer._drain_messages(fetcher))
    yield task
    fetcher.should_stop = True
    bench.consumer.resume_flow()
    await asyncio.wait_for(task, 5)


async def test_a_revocation_waits_for_the_fetch_under_way(bench: Bench) -> None:
    """What a fetch that outlives its generation returns would be dropped as old: so none outlives it."""
    fetching, found = asyncio.Event(), asyncio.Event()

    async def fetch() -> dict[TP, Any]:
        fetching.set()
        await found.wait()
        return {}

    async with draining(bench, fetch):
        await asyncio.wait_for(fetching.wait(), 5)
        bench.consumer.stop_flow()
        revoking = asyncio.create_task(bench.consumer.on_partitions_revoked({TP(PLAIN, 0)}))
        await asyncio.sleep(0.05)
        assert not revoking.done()
        found.set()
        await asyncio.wait_for(revoking, 5)


@pytest.mark.parametrize("topic", [PLAIN, STOCK])
async def test_a_stopped_flow_waits_for_no_place_in_an_agent_s_queue(bench: Bench, topic: str) -> None:
    """What is being handed over when the flow stops is dropped, and read again after the seek."""
    bench.full = asyncio.Event()
    bench.consumer._to_message = lambda _, record: record  # type: ignore[method-assign]  # records are fakes
    fetched = [{TP(topic, 0): records(topic, 0, 1)}]

    async def fetch() -> dict[TP, Any]:
        await asyncio.sleep(0.001)
        return fetched.pop() if fetched else {}

    async with draining(bench, fetch):
        bench.consumer._set_active_tps({TP(topic, 0)})
        await happens(lambda: not fetched and bench.consumer._delivery is not None)
        bench.consumer.stop_flow()
        bench.consumer.stop_flow()  # once more: a worker that stops in the middle of a rebalance
        await asyncio.wait_for(bench.consumer.on_partitions_revoked({TP(topic, 0)}), 5)
        await happens(lambda: bench.consumer._delivery is None)
        bench.full.set()
        bench.consumer.resume_flow()
        rounds = bench.consumer.rounds
        await happens(lambda: bench.consumer.rounds > rounds + 1)
    assert bench.delivered == []
    assert not bench.consumer._read_offset.get(TP(topic, 0))


async def test_a_partition_whose_queue_has_room_again_is_fetched_at_once(bench: Bench) -> None:
    """The fetch under way is of the others: it ends, and the next one has it."""
    place = TP(STOCK, 0)
    bench.consumer._set_active_tps({place})
    ended = 0

    def end_fetch() -> None:
        nonlocal ended
        ended += 1

    bench.consumer._thread.end_fetch = end_fetch  # type: ignore[method-assign]  # nobody is connected
    bench.consumer.on_buffer_drop(place)  # it was not full
    assert ended == 0
    bench.consumer.on_buffer_full(place)
    assert bench.consumer._open_partitions() == set()
    bench.consumer.on_buffer_drop(place)
    assert bench.consumer._open_partitions() == {place}
    assert ended == 1


async def test_a_flow_that_is_resumed_and_stopped_at_once_holds_up_no_rebalance(bench: Bench) -> None:
    """A rebalance right behind another one's end does not wait for a fetch that waits for its own end."""
    bench.consumer.stop_flow()

    async def fetch() -> dict[TP, Any]:
        await asyncio.sleep(0.001)
        return {}

    async with draining(bench, fetch):
        await asyncio.sleep(0.01)
        bench.consumer.resume_flow()
        bench.consumer.stop_flow()
        await asyncio.sleep(0.01)
        await asyncio.wait_for(bench.consumer.on_partitions_revoked({TP(PLAIN, 0)}), 5)


# -- offsets ---------------------------------------------------------------------------------------------


async def test_only_what_is_settled_is_committed_and_nothing_before_what_is_not() -> None:
    """The committed offset follows the chunks in their order, whatever the order of settling."""
    bench = Bench(chunk=1)
    await bench.deliver(*records(PLAIN, 0, 1, 2, 5))
    first, second, third = bench.delivered
    assert bench.committable() == {}
    second.settle()
    assert bench.committable() == {}
    first.settle()
    assert bench.committable() == {TP(PLAIN, 0): 3}
    assert bench.committable() == {}
    third.settle()
    assert bench.committable() == {TP(PLAIN, 0): 6}


async def test_the_commit_loop_can_ask_for_some_topics_only(bench: Bench) -> None:
    """A topic or a partition may be named; others wait."""
    await bench.deliver(*records(PLAIN, 0, 1), *records(PLAIN, 1, 1))
    for chunk in bench.delivered:
        chunk.settle()
    asked = bench.consumer._filter_tps_with_pending_acks
    assert list(asked({TP(PLAIN, 1)})) == [TP(PLAIN, 1)]
    assert list(asked({PLAIN})) == [TP(PLAIN, 0), TP(PLAIN, 1)]
    assert list(asked({STOCK})) == []


async def test_an_owner_s_offsets_are_left_to_it(bench: Bench) -> None:
    """Faust commits nothing for a topic with an owner, settled or not."""
    await bench.deliver(*records(OWNED, 0, 1))
    bench.delivered[0].settle()
    assert bench.committable() == {}
    assert bench.consumer.unsettled_chunks(TP(OWNED, 0)) == 0


async def test_faust_does_not_complain_of_commits_that_are_not_its_business(bench: Bench) -> None:
    """Its look for streams that stand still is left out where chunks go: its errors would be false."""
    looked: list[str] = []

    class Thread:
        def assignment(self) -> set[TP]:
            return {TP(topic, 0) for topic in (OWNED, PLAIN, STOCK)}

        def verify_event_path(self, _: float, tp: TP) -> None:
            looked.append(tp.topic)

    bench.consumer._thread = Thread()  # type: ignore[assignment]  # what it asks of one
    await bench.consumer.verify_all_partitions_active()
    assert looked == [STOCK]


async def test_faust_s_own_acknowledgement_of_a_chunk_commits_nothing(bench: Bench) -> None:
    """Faust acknowledges also what it skips: for a chunk that means nothing."""
    await bench.deliver(*records(PLAIN, 0, 1))

    class Message:
        topic, tp, offset, acked = PLAIN, TP(PLAIN, 0), 1, False

    message: Any = Message()
    bench.consumer._unacked_messages.add(message)
    assert bench.consumer.ack(message)
    assert (message.acked, message in bench.consumer._unacked_messages) == (True, False)
    assert bench.committable() == {}


async def test_after_a_seek_what_was_delivered_before_no_longer_counts(bench: Bench) -> None:
    """A chunk that is settled late, after a seek, must not commit past what is read again."""
    await bench.deliver(*records(PLAIN, 0, 1))

    async def seek(*_: Any) -> None:
        pass

    bench.consumer._seek = seek  # type: ignore[method-assign]  # nobody is connected
    await bench.consumer.seek(TP(PLAIN, 0), 1)
    bench.delivered[0].settle()
    assert bench.committable() == {}
    await bench.deliver(*records(PLAIN, 0, 1))
    assert bench.offsets()[1:] == [(0, [1])]


async def test_a_partition_is_read_from_another_offset_between_two_rounds_only(bench: Bench) -> None:
    """What is handed over until then says truly since when it was read: nobody takes it for what follows."""
    place, sought = TP(OWNED, 0), asyncio.Event()
    fetches = [{place: records(OWNED, 0, *range(4, 10))}, {place: records(OWNED, 0, 2, 3)}]

    async def fetch() -> dict[TP, Any]:
        await asyncio.sleep(0.001)
        return fetches.pop(0) if fetches and (len(fetches) == 2 or sought.is_set()) else {}

    async def seek_wait(offsets: dict[TP, int]) -> None:
        bench.consumer._read_offset.update(offsets)
        sought.set()

    async def take(message: Any) -> None:
        bench.delivered += message.value
        if len(bench.delivered) == 1:
            bench.consumer.read_from(place, 2)

    bench.consumer._read_offset[place] = 4
    bench.consumer.callback = take
    bench.consumer.seek_wait = seek_wait  # type: ignore[method-assign]  # nobody is connected
    async with draining(bench, fetch):
        bench.consumer._set_active_tps({place})
        await happens(lambda: len(bench.delivered) == 3)
    assert [(chunk.since, chunk.records[0].offset) for chunk in bench.delivered] == [(4, 4), (7, 7), (2, 2)]


async def test_where_to_read_from_is_forgotten_with_the_partition(bench: Bench) -> None:
    """A revoked partition may come back: then it begins where the group is."""
    bench.consumer.read_from(TP(OWNED, 0), 2)
    await bench.consumer.on_partitions_revoked({TP(OWNED, 0)})
    assert not bench.consumer._read_from


async def test_after_a_revocation_nothing_is_committed_any_more(bench: Bench) -> None:
    """What is settled after the partition is gone is somebody else's to commit."""
    await bench.deliver(*records(PLAIN, 0, 1), *records(PLAIN, 1, 1))
    await bench.consumer.on_partitions_revoked({TP(PLAIN, 0)})
    for chunk in bench.delivered:
        chunk.settle()
    assert bench.committable() == {TP(PLAIN, 1): 2}


async def test_owners_are_told_of_assignments_and_revocations(bench: Bench) -> None:
    """Each owner hears of exactly its topic's partitions, also when there are none, and of the generation."""
    await bench.consumer.on_partitions_assigned({TP(OWNED, 1), TP(PLAIN, 0), TP(STOCK, 2)}, 9)
    await bench.consumer.on_partitions_revoked({TP(OWNED, 1), TP(PLAIN, 0)})
    await bench.consumer.on_partitions_assigned({TP(PLAIN, 0)}, 10)
    assert bench.owner.told == [("assigned", {1}, 9), ("revoked", {1}), ("assigned", set(), 10)]


# -- on a real Kafka -------------------------------------------------------------------------------------


class Reading:
    """An app in this process that reads two topics, one of them with an owner, as the worker does."""

    def __init__(self, servers: str, group: str, folder: Path) -> None:
        self.group = group
        self.owner = FakeOwner()
        self.owned: list[Chunk] = []
        self.plain: list[Chunk] = []
        self.offsets_seen: dict[tuple[str, int], list[int]] = {}
        self.values: set[bytes] = set()
        self.app = app = faust.App(
            group,
            env={},
            broker=f"{SCHEME}://{servers}",
            store="memory://",
            datadir=str(folder),
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=0.1,
            broker_heartbeat_interval=0.5,
            broker_session_timeout=6.0,
            topic_disable_leader=True,
            stream_wait_empty=False,
            web_enabled=False,
            loop=asyncio.get_running_loop(),
        )
        owned = app.topic(f"{group}-owned", schema=ChunkSchema(100, self.owner), maxsize=2)
        plain = app.topic(f"{group}-plain", schema=ChunkSchema(100), maxsize=2)

        @app.agent(owned)
        async def read_owned(stream: Any) -> None:
            async for event in stream.noack().events():
                self._take(self.owned, event.value)

        @app.agent(plain)
        async def read_plain(stream: Any) -> None:
            async for event in stream.noack().events():
                self._take(self.plain, event.value)

    def _take(self, chunks: list[Chunk], together: list[Chunk]) -> None:
        chunks += together
        for chunk in together:
            seen = self.offsets_seen.setdefault((chunk.topic, chunk.partition), [])
            seen += [record.offset for record in chunk.records]
            self.values |= {record.value for record in chunk.records}

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Reading]:
        self.app.finalize()
        await self.app.start()
        try:
            yield self
        finally:
            await self.app.stop()


async def committed(servers: str, group: str, topic: str) -> list[int | None]:
    async with administering(servers) as admin:
        found = await admin.list_consumer_group_offsets(group)
    positions = [found.get(TopicPartition(topic, number)) for number in range(2)]
    return [None if position is None else position.offset for position in positions]


@pytest.mark.kafka
async def test_chunks_of_a_real_topic_and_what_is_committed_of_them(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Committed records in order, none twice; commits follow what is settled; a successor goes on there."""
    group = unique_name("chunks")
    owned, plain = f"{group}-owned", f"{group}-plain"
    await make_topics(kafka.bootstrap_servers, 2, owned, plain)
    async with producing(kafka.bootstrap_servers, transactional_id=group) as producer:
        async with producer.transaction():
            for topic, partition in product((owned, plain), (0, 1)):
                for _ in range(1_000):
                    await producer.send(topic, b"committed", partition=partition)
        await producer.begin_transaction()
        for partition in (0, 1):
            await producer.send_and_wait(plain, b"aborted", partition=partition)
        await producer.abort_transaction()

    reading = Reading(kafka.bootstrap_servers, group, tmp_path)
    async with reading.started():
        await happens(lambda: sum(map(len, reading.offsets_seen.values())) == 2_000)
        assert reading.owned == []
        assert reading.owner.told[-1][:2] == ("assigned", {0, 1})
        assert reading.owner.told[-1][2] == reading.app.consumer_generation_id
        in_order = list(range(1_000))
        assert reading.offsets_seen == {(plain, 0): in_order, (plain, 1): in_order}
        assert reading.values == {b"committed"}
        assert max(len(chunk.records) for chunk in reading.plain) <= 100

        of_first = [chunk for chunk in reading.plain if chunk.partition == 0]
        of_second = [chunk for chunk in reading.plain if chunk.partition == 1]
        for chunk in [*of_first, *of_second[:3], *of_second[4:]]:
            chunk.settle()
        expected = [1_000, of_second[2].next_offset]

        async def as_expected() -> bool:
            return await committed(kafka.bootstrap_servers, group, plain) == expected

        await happens(as_expected, 10)

        reading.owner.accepting = {1}
        await happens(lambda: len(reading.offsets_seen.get((owned, 1), ())) == 1_000)
        assert (owned, 0) not in reading.offsets_seen
        for chunk in reading.owned:
            chunk.settle()

    successor = Reading(kafka.bootstrap_servers, group, tmp_path)
    successor.owner.accepting = {0, 1}
    async with successor.started():
        await happens(lambda: sum(map(len, successor.offsets_seen.values())) == 2_000 + 1_000 - expected[1])
        assert successor.offsets_seen[plain, 1][0] == expected[1]
        assert (plain, 0) not in successor.offsets_seen
    assert await committed(kafka.bootstrap_servers, group, owned) in ([None, None], [-1, -1])
    assert await as_expected()


@pytest.mark.kafka
async def test_a_real_partition_is_read_from_where_its_owner_says(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """All that follows that offset comes once more, without a gap; the other partition goes on."""
    group = unique_name("again")
    owned = f"{group}-owned"
    await make_topics(kafka.bootstrap_servers, 2, owned, f"{group}-plain")
    async with producing(kafka.bootstrap_servers) as producer:
        for partition, _ in product((0, 1), range(250)):
            await producer.send(owned, b"", partition=partition)
    reading = Reading(kafka.bootstrap_servers, group, tmp_path)
    reading.owner.accepting = {0, 1}
    async with reading.started():
        seen = reading.offsets_seen
        await happens(lambda: [len(seen.get((owned, number), ())) for number in (0, 1)] == [250, 250])
        reading.app.consumer.read_from(TP(owned, 0), 100)
        await happens(lambda: len(seen[owned, 0]) == 400)
        assert seen[owned, 0] == [*range(250), *range(100, 250)]
        assert seen[owned, 1] == list(range(250))
        assert reading.app.consumer.fetch_position(TP(owned, 0)) == (250, 250)


@pytest.mark.kafka
async def test_a_fetch_that_waits_ends_when_the_flow_stops_or_something_else_is_to_be_read(
    kafka: EmbeddedKafka,
    unique_name: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long it would wait for records: neither a rebalance nor a partition waits for its end."""
    monkeypatch.setattr("streams.kafka.consumer._WAIT", 600.0)
    group = unique_name("ends")
    owned, plain = f"{group}-owned", f"{group}-plain"
    await make_topics(kafka.bootstrap_servers, 1, owned, plain)
    reading = Reading(kafka.bootstrap_servers, group, tmp_path)
    reading.owner.accepting = {0}
    async with reading.started():
        consumer = reading.app.consumer
        await happens(consumer.assignment)
        for change in (
            lambda: consumer.read_from(TP(owned, 0), 0),
            lambda: consumer.resume_partitions({TP(plain, 0)}),
        ):
            await happens(lambda: not consumer._no_fetch.is_set())
            await asyncio.sleep(0.2)  # it waits by now
            rounds = consumer.rounds
            change()
            await happens(lambda rounds=rounds: consumer.rounds > rounds)  # type: ignore[misc]
        await happens(lambda: not consumer._no_fetch.is_set())
        consumer.stop_flow()
        await happens(consumer._no_fetch.is_set)
        # None of them counts as a fetch that goes on: a worker that takes nothing for long leaves its group.
        subscriptions = consumer._thread._consumer._subscription
        assert subscriptions._fetch_count == 0
        assert subscriptions.fetcher_idle_time > 0
        consumer.resume_flow()
        async with producing(kafka.bootstrap_servers) as producer:
            await producer.send_and_wait(owned, b"", partition=0)
        await happens(lambda: len(reading.offsets_seen.get((owned, 0), ())) == 1)


@pytest.mark.kafka
async def test_a_thread_whose_event_loop_stands_still_falls_silent(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """The seconds since its loop turned last grow as long as something blocks it, and no longer."""
    group = unique_name("silent")
    await make_topics(kafka.bootstrap_servers, 1, f"{group}-owned", f"{group}-plain")
    reading = Reading(kafka.bootstrap_servers, group, tmp_path)
    assert reading.app.consumer.silent_for == 0
    async with reading.started():
        go_on = threading.Event()
        try:
            reading.app.consumer._thread.thread_loop.call_soon_threadsafe(go_on.wait)
            await happens(lambda: reading.app.consumer.silent_for > 2)
        finally:
            go_on.set()
        await happens(lambda: reading.app.consumer.silent_for < 1)


@asynccontextmanager
async def reading_through_a_proxy(
    kafka: EmbeddedKafka, group: str, folder: Path
) -> AsyncIterator[tuple[KafkaProxy, Reading]]:
    """Read topics of one partition, over connections that can be made to fail."""
    await make_topics(kafka.bootstrap_servers, 1, f"{group}-owned", f"{group}-plain")
    with KafkaProxy(kafka.bootstrap_servers) as proxy:
        reading = Reading(proxy.bootstrap_servers, group, folder)
        async with reading.started():
            yield proxy, reading


@pytest.mark.kafka
async def test_a_coordinator_that_is_mute_for_a_session_s_time_is_not_known_any_more(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """A connection that stands is no sign of life; when the broker answers again, it is known again."""
    async with reading_through_a_proxy(kafka, unique_name("mute"), tmp_path) as (proxy, reading):
        await happens(lambda: reading.app.consumer.coordinated)
        await asyncio.to_thread(proxy.pause)
        await happens(lambda: not reading.app.consumer.coordinated)
        await asyncio.to_thread(proxy.resume)
        await happens(lambda: reading.app.consumer.coordinated)


@pytest.mark.kafka
async def test_a_heartbeat_that_is_lost_is_followed_by_others_over_another_connection(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Nothing more comes over a connection that lost a request; the member takes part again without it."""
    group = unique_name("lost")
    async with reading_through_a_proxy(kafka, group, tmp_path) as (proxy, reading):
        await happens(lambda: reading.owner.told != [])
        assignments = len(reading.owner.told)
        lost = proxy.add(Api.HEARTBEAT, HoldRequest())
        await asyncio.to_thread(lost.wait)
        await happens(lambda: not reading.app.consumer.coordinated)
        await happens(lambda: reading.app.consumer.coordinated)
        await happens(lambda: len(reading.owner.told) > assignments)  # its session was over
        async with producing(kafka.bootstrap_servers) as producer:
            await producer.send_and_wait(f"{group}-plain", b"after")
        await happens(lambda: b"after" in reading.values)
