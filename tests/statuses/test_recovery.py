"""The table's recovery, chunk by chunk, on Faust's real stores; tests/integration restores whole tables."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mode.utils.queues import FlowControlQueue

from streams.delivery.offsets import Extent
from streams.kafka.chunks import Chunk
from streams.kafka.flow import FlowControl
from streams.messages.unreadable import UnreadableRecords
from streams.statuses.recovery import ChangelogOwner, ChunkRecovery, ChunkTables
from streams.statuses.row import Row, encode_row
from streams.statuses.table import rows_of
from tests.statuses.fake_changelog import CHANGELOG, faust_table

YES, NO = encode_row(Row(True, 10.0)), encode_row(Row(False, 10.0))
GENERATION = 3


@dataclass(frozen=True)
class FakeRecord:
    offset: int
    key: bytes | None
    value: bytes | None


class FakeCluster:
    """The consumer and the offsets, as far as a recovery asks them."""

    def __init__(self) -> None:
        self.positions: dict[Any, int] = {}
        self.ends: dict[int, int] = {}
        self.rounds = 0
        self.trouble: list[Exception] = []
        #: What was asked of it, in order, and the same for those who wait for it.
        self.calls: list[str] = []
        self._asked: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        #: What the next call of that name ends with.
        self.failures: dict[str, Exception] = {}
        #: The call of that name does not end by itself.
        self.hanging: str | None = None
        self.seeks: list[dict[TP, int]] = []
        self.resumed: set[TP] = set()

    def note(self, name: str) -> None:
        self.calls.append(name)
        self._asked[name].set()

    def forget(self) -> None:
        self.calls.clear()
        self._asked.clear()

    async def until(self, name: str) -> None:
        """Wait until that was asked."""
        await asyncio.wait_for(self._asked[name].wait(), 5)

    async def called(self, name: str) -> None:
        self.note(name)
        if self.hanging == name:
            await asyncio.Event().wait()
        if name in self.failures:
            raise self.failures.pop(name)

    async def position(self, tp: TP) -> int | None:
        if self.trouble:
            raise self.trouble.pop(0)
        return self.positions.get(tp)

    async def extents(self, places: Any) -> dict[TopicPartition, Extent]:
        await self.called("extents")
        return {place: Extent(0, self.ends[place.partition]) for place in places}

    async def seek_wait(self, offsets: dict[TP, int]) -> None:
        """Seek as aiokafka does, which takes no None."""
        if not all(isinstance(offset, int) and offset >= 0 for offset in offsets.values()):
            raise ValueError("Offset must be a positive integer")
        self.seeks.append(dict(offsets))
        await self.called("seek_wait")

    async def perform_seek(self) -> None:
        await self.called("perform_seek")

    def assignment(self) -> set[TP]:
        return {TP("actions", 0), *self.seeks[-1]}

    def resume_partitions(self, tps: set[TP]) -> None:
        self.resumed |= tps

    def pause_partitions(self, tps: set[TP]) -> None:
        self.resumed -= tps

    def resume_flow(self) -> None:
        self.note("resume_flow")


class Bench:
    """A recovery of an app that is not started, for one of Faust's stores; partitions 0 and 1 are open."""

    def __init__(self, store: str, folder: Path) -> None:
        self.table = faust_table(store, folder, 0, 1)
        self.cluster = FakeCluster()
        flow = FlowControl()
        flow.resume()
        self.actives: set[TP] = set()
        self.standbys: set[TP] = set()
        self.app = SimpleNamespace(
            conf=SimpleNamespace(stream_recovery_delay=0.0, broker_request_timeout=5.0),
            consumer=self.cluster,
            consumer_generation_id=GENERATION,
            in_recovery=False,
            startup=SimpleNamespace(offsets=self.cluster),
            FlowControlQueue=lambda **options: FlowControlQueue(flow_control=flow, **options),
            assignor=SimpleNamespace(
                assigned_actives=lambda: self.actives, assigned_standbys=lambda: self.standbys
            ),
            tracer=None,
            _rebalancing_span=None,
            flow_control=flow,
            _fetcher=SimpleNamespace(maybe_start=partial(self.cluster.called, "maybe_start")),
            on_rebalance_complete=SimpleNamespace(send=partial(self.cluster.called, "on_rebalance_complete")),
            on_rebalance_end=partial(self.cluster.note, "on_rebalance_end"),
        )
        app: Any = self.app
        self.tables = ChunkTables(app)
        self.tables[self.table.name] = self.table
        self.tables._changelogs[CHANGELOG] = self.table
        self.recovery: Any = self.tables.recovery
        self.recovery.add_active(self.table, TP(CHANGELOG, 0))
        self.lasting = store == "rocksdb"

    def restore(self, *records: FakeRecord, partition: int = 0, generation: int = GENERATION) -> None:
        self.recovery._restore(Chunk(TP(CHANGELOG, partition), records, generation))

    def rows(self, partition: int = 0) -> dict[bytes, bytes | None]:
        rows = rows_of(self.table)
        return {key: rows.get(partition, key) for key in rows.keys(partition)}

    def contained(self, partition: int = 0) -> Any:
        """The offset that a worker would restore from after a restart."""
        return self.table.persisted_offset(TP(CHANGELOG, partition))

    async def assign(self, generation: int, *actives: int, standbys: Iterable[int] = ()) -> None:
        """A rebalance ends: these partitions are ours, and for others we stand by."""
        self.app.consumer_generation_id = generation
        before = self.actives | self.standbys
        self.actives = {TP(CHANGELOG, partition) for partition in actives}
        self.standbys = {TP(CHANGELOG, partition) for partition in standbys}
        now = self.actives | self.standbys
        await self.recovery.on_rebalance(now, before - now, now - before, generation)

    async def begin(self, generation: int, *actives: int, standbys: Iterable[int] = ()) -> None:
        """The same, until the recovery reads."""
        await self.assign(generation, *actives, standbys=standbys)
        await self.cluster.until("resume_flow")

    def to_restore(self, highwater: int) -> None:
        """A recovery has begun, and there is something to read up to this offset."""
        self.recovery.active_highwaters[TP(CHANGELOG, 0)] = highwater
        self.recovery.active_offsets[TP(CHANGELOG, 0)] = -1
        self.recovery._set_recovery_started()


@pytest.fixture(params=["memory", "rocksdb"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(request.param, tmp_path)


async def test_a_chunk_is_restored_with_its_tombstones_and_its_offset(bench: Bench) -> None:
    """Later records of a chunk win, tombstones forget, and the store knows how far it goes."""
    bench.restore(FakeRecord(0, b"a", YES), FakeRecord(1, b"b", YES), FakeRecord(2, b"c", NO))
    bench.restore(FakeRecord(7, b"a", NO), FakeRecord(9, b"b", None), FakeRecord(10, b"d", None))
    assert bench.rows() == {b"a": NO, b"c": NO}
    assert bench.recovery.active_offsets[TP(CHANGELOG, 0)] == 10
    assert bench.contained() == (10 if bench.lasting else None)


async def test_what_is_there_already_is_not_restored_again(bench: Bench) -> None:
    """A reading that begins before what the store contains brings back nothing that is older."""
    bench.restore(FakeRecord(0, b"a", YES), FakeRecord(1, b"b", YES), FakeRecord(2, b"a", None))
    bench.restore(FakeRecord(0, b"a", YES), FakeRecord(1, b"b", YES))
    assert bench.rows() == {b"b": YES}
    bench.restore(FakeRecord(1, b"b", NO), FakeRecord(2, b"a", NO), FakeRecord(3, b"c", NO))
    assert bench.rows() == {b"b": YES, b"c": NO}


async def test_a_chunk_of_before_the_rebalance_is_dropped(bench: Bench) -> None:
    """What was fetched in another generation is read again, from what the store contains."""
    bench.restore(FakeRecord(5, b"a", YES), generation=GENERATION - 1)
    assert bench.rows() == {}
    assert bench.recovery.active_offsets[TP(CHANGELOG, 0)] is None


async def test_a_partition_of_nobody_is_dropped(bench: Bench) -> None:
    """A chunk of a partition that is neither ours nor one to stand by for changes no store."""
    bench.restore(FakeRecord(5, b"a", YES), partition=1)
    assert bench.rows(1) == {}


async def test_a_standby_is_restored_too(bench: Bench) -> None:
    """A partition that we stand by for has its rows and offset, and does not count as ours."""
    tp = TP(CHANGELOG, 1)
    bench.recovery.add_standby(bench.table, tp)
    bench.restore(FakeRecord(5, b"a", YES), partition=1)
    assert bench.rows(1) == {b"a": YES}
    assert (bench.recovery.standby_offsets[tp], bench.recovery.active_offsets.get(tp)) == (5, None)


async def test_a_record_without_a_key_is_nobody_s_row(bench: Bench) -> None:
    """It is passed over, and those around it are restored."""
    bench.restore(FakeRecord(0, b"a", YES), FakeRecord(1, None, YES), FakeRecord(2, b"b", NO))
    assert bench.rows() == {b"a": YES, b"b": NO}


async def test_rows_from_before_a_batch_that_cannot_be_read_are_forgotten(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have replaced any of them: who has unsubscribed since then must not count as a subscriber."""
    bench.restore(FakeRecord(0, b"a", YES), FakeRecord(1, b"b", YES))
    unreadable: Any = UnreadableRecords(3, 6, "its header is wrong")
    bench.restore(FakeRecord(2, b"c", YES), unreadable, FakeRecord(7, b"d", YES))
    bench.restore(FakeRecord(8, b"e", NO))
    assert bench.rows() == {b"d": YES, b"e": NO}
    assert bench.recovery.active_offsets[TP(CHANGELOG, 0)] == 8
    assert bench.contained() == (8 if bench.lasting else None)
    (line,) = [each for each in caplog.records if getattr(each, "event", "") == "unreadable_batch"]
    assert f"the records at offsets 3 to 6 of {CHANGELOG}/0 cannot be read" in line.getMessage()


async def test_any_chunks_come_to_what_a_simple_fold_has(tmp_path: Path) -> None:
    """However the changelog is cut into chunks, overlapping ones too, both stores end as one dict."""
    record = st.tuples(
        st.integers(1, 3), st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([YES, NO, None])
    )
    benches = [Bench(store, tmp_path / store) for store in ("memory", "rocksdb")]

    # How many records a chunk brings, and how many that were restored before it: a reading begins anew.
    cut = st.tuples(st.integers(1, 5), st.integers(0, 4))

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(record, min_size=1, max_size=12), st.lists(cut, min_size=12, max_size=12))
    def check(steps: list[tuple[int, bytes, bytes | None]], cuts: list[tuple[int, int]]) -> None:
        log, offset = [], -1
        for step, key, value in steps:  # a step of more than one is a gap, as compaction leaves it
            offset += step
            log.append(FakeRecord(offset, key, value))
        model = {record.key: record.value for record in log}
        for bench in benches:
            rows_of(bench.table).put(0, dict.fromkeys((b"a", b"b", b"c")), -1)
            bench.recovery.active_offsets[TP(CHANGELOG, 0)] = -1
            done = 0
            for fresh, again in cuts:
                if done < len(log):
                    bench.restore(*log[max(0, done - again) : done + fresh])
                    done += fresh
            assert bench.rows() == {key: value for key, value in model.items() if value is not None}
            assert bench.recovery.active_offsets[TP(CHANGELOG, 0)] == offset

    check()


# -- the end of a recovery -------------------------------------------------------------------------------


@pytest.fixture
async def running(bench: Bench) -> AsyncIterator[Bench]:
    """A bench whose tasks take chunks from the queue, and look at positions."""
    bench.recovery.IDLE = 0.01
    services = (ChunkRecovery._slurp_changelogs, ChunkRecovery._look_for_empty_ends)
    tasks = [asyncio.create_task(cast(Any, service).fun(bench.recovery)) for service in services]
    yield bench
    for task in tasks:
        task.cancel()


async def give(bench: Bench, *offsets: int) -> None:
    """Let the consumer hand over one chunk of the changelog, read in the present generation."""
    records = [FakeRecord(offset, b"key-%d" % offset, YES) for offset in offsets]
    chunk = Chunk(TP(CHANGELOG, 0), records, bench.app.consumer_generation_id)
    await bench.tables.changelog_queue.put(SimpleNamespace(value=[chunk]))


async def ended(bench: Bench) -> None:
    await asyncio.wait_for(bench.recovery.signal_recovery_end.wait(), 5)


async def quiet(bench: Bench) -> None:
    """Several looks at the position go by."""
    for _ in range(5):
        await asyncio.sleep(bench.recovery.IDLE)


async def test_a_recovery_ends_with_the_last_chunk(running: Bench) -> None:
    """It ends when the high watermark is restored, and not before."""
    running.to_restore(highwater=1)
    await give(running, 0)
    await quiet(running)
    assert not running.recovery.signal_recovery_end.is_set()
    await give(running, 1)
    await ended(running)
    assert running.rows() == {b"key-0": YES, b"key-1": YES}
    assert not running.app.in_recovery


async def test_the_end_is_known_to_who_asks_for_it_later(running: Bench) -> None:
    """The signal stays until the next recovery begins: nobody has to be waiting when it comes."""
    running.to_restore(highwater=0)
    await give(running, 0)
    await ended(running)
    await quiet(running)
    assert running.recovery.signal_recovery_end.is_set()
    running.to_restore(highwater=5)
    assert not running.recovery.signal_recovery_end.is_set()


async def test_an_end_without_records_is_passed_over(running: Bench) -> None:
    """A transaction marker at the end, or what compaction removed there: the position is past it."""
    running.to_restore(highwater=4)
    running.restore(FakeRecord(2, b"a", YES))
    running.cluster.positions[TP(CHANGELOG, 0)] = 5
    await quiet(running)
    assert not running.recovery.signal_recovery_end.is_set()  # records may still be on their way
    running.cluster.rounds = 2
    await ended(running)
    assert running.contained() == (4 if running.lasting else None)


async def test_an_end_that_is_not_reached_is_waited_for(running: Bench) -> None:
    """While the position is before the end (somebody's open transaction), the recovery is not complete."""
    running.to_restore(highwater=4)
    running.cluster.positions[TP(CHANGELOG, 0)] = 4
    for running.cluster.rounds in range(5):
        await quiet(running)
    assert not running.recovery.signal_recovery_end.is_set()


async def test_records_that_come_after_all_count(running: Bench) -> None:
    """What was still on its way when the position was past the end is restored, and the count begins anew."""
    running.to_restore(highwater=4)
    running.cluster.positions[TP(CHANGELOG, 0)] = 5
    await quiet(running)
    running.restore(FakeRecord(1, b"a", YES))
    running.cluster.rounds = 1
    await quiet(running)
    running.cluster.rounds = 2
    await quiet(running)
    assert not running.recovery.signal_recovery_end.is_set()
    running.cluster.rounds = 3
    await ended(running)
    assert running.rows() == {b"a": YES}


async def test_a_position_that_cannot_be_had_ends_nothing(running: Bench) -> None:
    """A partition that is taken away in the middle is left to the next recovery."""
    running.to_restore(highwater=4)
    running.cluster.trouble = [IllegalStateError("not assigned")] * 3
    await quiet(running)
    assert not running.recovery.signal_recovery_end.is_set()
    running.cluster.positions[TP(CHANGELOG, 0)] = 5
    while not running.recovery.signal_recovery_end.is_set():
        running.cluster.rounds += 2
        await quiet(running)


# -- from an assignment to the end of its recovery, or to the next rebalance --------------------------------


@pytest.fixture
async def recovering(running: Bench) -> AsyncIterator[Bench]:
    """A bench that also begins a recovery with each assignment; its partition 0 ends at offset 7, 1 at 4."""
    running.cluster.ends = {0: 7, 1: 4}
    running.recovery.RETRY_AFTER = 0.01
    running.task = asyncio.create_task(type(running.recovery)._restart_recovery.fun(running.recovery))
    yield running
    running.task.cancel()


async def test_what_is_behind_an_open_transaction_belongs_to_the_table(recovering: Bench) -> None:
    """The end that has to be restored is the high watermark, whatever the consumer may read by now."""
    await recovering.begin(GENERATION, 0, 1)
    assert recovering.recovery.active_highwaters == {TP(CHANGELOG, 0): 6, TP(CHANGELOG, 1): 3}


async def test_reading_begins_behind_what_the_store_contains(recovering: Bench) -> None:
    """In a partition of ours and in one that we stand by for; at the beginning where nothing is contained."""
    recovering.restore(FakeRecord(3, b"a", YES))
    await recovering.begin(GENERATION, 0, standbys=[1])
    assert recovering.cluster.seeks == [{TP(CHANGELOG, 0): 4, TP(CHANGELOG, 1): 0}]


async def test_the_streams_go_on_when_the_table_is_restored(recovering: Bench) -> None:
    """First our partitions are read to their ends, then the streams, and those that we stand by for."""
    await recovering.begin(GENERATION, 0, standbys=[1])
    assert recovering.cluster.resumed == {TP(CHANGELOG, 0)}
    await give(recovering, 6)
    await recovering.cluster.until("on_rebalance_end")
    assert recovering.cluster.resumed == {TP(CHANGELOG, 1), TP("actions", 0)}
    assert recovering.recovery.completed.is_set()


async def test_a_recovery_begins_anew_when_another_member_joins(recovering: Bench) -> None:
    """The rebalance interrupts the reading; what is assigned now is restored, standbys included."""
    await recovering.begin(GENERATION, 0, 1)
    await give(recovering, 0, 1, 2)
    recovering.recovery.on_partitions_revoked({TP(CHANGELOG, 0), TP(CHANGELOG, 1)})
    await recovering.assign(GENERATION + 1, 0, standbys=[1])
    recovering.cluster.forget()
    await recovering.cluster.until("resume_flow")
    await give(recovering, 5, 6)
    await recovering.cluster.until("on_rebalance_end")
    assert recovering.cluster.seeks[-1].keys() == {TP(CHANGELOG, 0), TP(CHANGELOG, 1)}
    assert recovering.cluster.calls.count("on_rebalance_complete") == 1
    assert not recovering.task.done()


STEPS = ["extents", "seek_wait", "maybe_start", "the end", "on_rebalance_complete", "perform_seek"]


@pytest.mark.parametrize("step", STEPS)
async def test_from_a_revocation_on_no_step_of_a_recovery_runs(recovering: Bench, step: str) -> None:
    """Wherever it is: it lets no record flow while the group rebalances."""
    recovering.cluster.hanging = step
    await recovering.assign(GENERATION, 0)
    await recovering.cluster.until("resume_flow" if step == "the end" else STEPS[min(STEPS.index(step), 2)])
    if STEPS.index(step) > 3:
        await give(recovering, 6)
        await recovering.cluster.until(step)
    recovering.recovery.on_partitions_revoked({TP(CHANGELOG, 0)})
    recovering.cluster.forget()
    recovering.cluster.resumed.clear()
    recovering.recovery.signal_recovery_end.set()
    await quiet(recovering)
    assert (recovering.cluster.calls, recovering.cluster.resumed) == ([], set())
    recovering.cluster.hanging = None
    recovering.cluster.ends[0] = 0
    await recovering.assign(GENERATION + 1)
    await recovering.cluster.until("on_rebalance_end")


async def test_an_assignment_that_is_revoked_at_once_begins_no_recovery(recovering: Bench) -> None:
    """Nothing is asked for partitions that may be somebody else's by now."""
    await recovering.assign(GENERATION, 0)
    recovering.recovery.on_partitions_revoked({TP(CHANGELOG, 0)})
    await quiet(recovering)
    assert recovering.cluster.calls == []


@pytest.mark.parametrize("call", ["extents", "seek_wait", "perform_seek"])
@pytest.mark.parametrize(
    "error", [KafkaTimeoutError(), TimeoutError(), NodeNotReadyError(), IllegalStateError()]
)
async def test_a_recovery_begins_anew_when_kafka_does_not_answer(
    recovering: Bench, call: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so and tries again; the worker lives on."""
    recovering.cluster.failures = {call: error}
    await recovering.begin(GENERATION, 0)
    await give(recovering, 6)
    await recovering.cluster.until("on_rebalance_end")
    assert [record.event for record in caplog.records if hasattr(record, "event")] == ["recovery_restarts"]


async def test_a_refusal_ends_the_worker(recovering: Bench) -> None:
    """What does not pass by waiting is the reason of a crash."""
    recovering.cluster.failures = {"extents": TopicAuthorizationFailedError(CHANGELOG)}
    await recovering.assign(GENERATION, 0)
    with pytest.raises(TopicAuthorizationFailedError):
        await asyncio.wait_for(recovering.task, 5)


async def test_a_store_that_contains_more_than_its_changelog_is_restored(
    recovering: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the copy of another topic: its rows are forgotten, and all of the changelog is read."""
    recovering.restore(FakeRecord(7, b"a", YES))
    recovering.cluster.ends[0] = 5
    await recovering.assign(GENERATION, 0)
    await asyncio.wait_for(recovering.cluster.until("seek_wait"), 5)
    assert recovering.cluster.seeks[-1][TP(CHANGELOG, 0)] == 0
    rows = rows_of(recovering.table)
    assert rows.get(0, b"a") is None
    if recovering.table.data.url.scheme == "rocksdb":
        assert "contains more than its changelog" in caplog.text


async def test_only_a_few_chunks_wait(bench: Bench) -> None:
    """A reading that is faster than the store waits, instead of filling the memory."""
    assert bench.tables.changelog_queue.maxsize == ChunkTables.WAITING_MOST < 10


async def test_the_changelog_s_offsets_are_not_the_group_s(bench: Bench) -> None:
    """Its partitions have an owner that takes every chunk and commits nothing."""
    owner = ChangelogOwner()
    await owner.assigned([0], GENERATION)
    await owner.revoked([0])
    assert owner.accepts(0)


async def test_nothing_personal_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Keys hold a contactRef: they stay out of the log."""
    caplog.set_level(logging.DEBUG)
    bench.restore(FakeRecord(0, b"310:canary-7f3a", b"canary-7f3a"))
    assert "canary" not in caplog.text
