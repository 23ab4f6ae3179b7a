"""The lanes of a worker through assignments, revocations and failures to open. Time is virtual."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.delivery.epochs import epochs_of
from streams.delivery.lane import Lane
from streams.delivery.lanes import Lanes
from streams.delivery.starting import OperatorNeeded
from streams.delivery.transaction import Denied, Position
from tests.delivery.fakes import Bench, Ending, FakeLog, known, lookup, soon


class FakeGate:
    """Open, but for the partitions that a test names."""

    def __init__(self) -> None:
        self.closed: set[int] = set()
        self.told: list[str] = []

    def assigned(self, partitions: set[int]) -> None:
        self.told.append(f"assigned {sorted(partitions)}")

    def revoked(self) -> None:
        self.told.append("revoked")

    def is_open(self, partition: int) -> bool:
        return partition not in self.closed


class Worker:
    """Lanes over fake partitions, with everything that they make at hand."""

    def __init__(self, logs: dict[int, FakeLog] | None = None) -> None:
        self.logs = logs if logs is not None else {}
        self.benches: dict[int, list[Bench]] = {}
        self.crashes: list[Exception] = []
        self.prepare: Callable[[Bench], None] = lambda _: None  # sees each bench before its lane opens
        self.beginnings: list[int | Exception] = []
        self.gate = FakeGate()
        self.undecided: set[int] = set()
        self.asks_if_cut = False
        self.sought: list[tuple[int, int]] = []
        self.lanes = Lanes(self._make, self._begin, self.crashes.append, self.gate, self._read_from)

    def bench(self, partition: int) -> Bench:
        """The newest one of this partition."""
        return self.benches[partition][-1]

    def _make(self, partition: int) -> Lane:
        bench = Bench(self.logs.setdefault(partition, FakeLog()))
        self.benches.setdefault(partition, []).append(bench)
        self.prepare(bench)
        return bench.lane

    async def _begin(self, partition: int, committed: Position) -> Position:
        if partition in self.undecided:
            raise OperatorNeeded(TopicPartition("actions", partition), "it is beyond the end")
        if self.asks_if_cut and epochs_of(committed).cut is not None:
            raise OperatorNeeded(TopicPartition("actions", partition), "it was cut", committed)
        beginning = self.beginnings.pop(0) if self.beginnings else 0
        if isinstance(beginning, Exception):
            raise beginning
        return Position(beginning, "") if committed.offset is None else committed

    def _read_from(self, partition: int, offset: int) -> None:
        self.sought.append((partition, offset))


pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    yield worker
    await worker.lanes.close(0.0)


def hanging(bench: Bench) -> None:
    bench.transactions.opens.append(asyncio.get_running_loop().create_future())


async def test_lanes_open_in_the_background_and_accept_only_then(worker: Worker) -> None:
    """An assignment returns at once; a partition's chunks are accepted from when its own lane is open."""
    slow = asyncio.get_running_loop().create_future()
    worker.prepare = lambda bench: bench.transactions.opens.append(slow) if 1 in worker.benches else None
    began = asyncio.get_running_loop().time()
    await worker.lanes.assigned([0], 7)
    await soon()
    await worker.lanes.assigned([0, 1], 8)
    assert asyncio.get_running_loop().time() - began < 0.01
    await asyncio.sleep(30)
    assert worker.lanes.accepts(0)
    assert not worker.lanes.accepts(1)
    assert worker.lanes.opening == {1: "opening"}
    assert worker.lanes.partitions() == {0}
    worker.lanes.offer(1, 8, known(0))
    slow.set_result(Ending.DONE)
    await soon()
    assert worker.lanes.accepts(1)
    assert worker.lanes.opening == {}
    assert len(worker.lanes) == 2
    assert worker.logs[1].offsets == [], "a chunk from before the opening was taken"


async def test_a_doubted_partition_takes_nothing_until_it_is_trusted(worker: Worker) -> None:
    """The others go on; who asks is told at once."""
    told: list[int] = []
    worker.lanes.on_interrupted = lambda: told.append(1)
    await worker.lanes.assigned([0, 1], 7)
    worker.lanes.interrupted(0)
    assert not told, "its lane is not open yet, and asks by itself"
    await soon()
    worker.lanes.interrupted(0)
    assert told
    assert [worker.lanes.accepts(number) for number in (0, 1)] == [False, True]
    assert worker.lanes.is_doubted(0)
    worker.lanes.trust(worker.lanes.doubted)
    assert worker.lanes.accepts(0)


async def test_a_lane_opens_anew_where_its_partition_begins_now(worker: Worker) -> None:
    """What it holds is written first; a decision is waited for as at the start; the consumer goes there."""
    await worker.lanes.assigned([0, 1], 7)
    await soon()
    worker.lanes.offer(0, 7, known(0, 1))
    worker.undecided = {0}
    worker.lanes.reopen(0)
    worker.lanes.reopen(0)
    assert not worker.lanes.accepts(0)
    await asyncio.sleep(2)
    assert "start-at actions 0" in worker.lanes.opening[0]
    assert worker.logs[0].offsets == [0, 1]
    assert worker.lanes.accepts(1)
    worker.undecided = set()
    await asyncio.sleep(4)
    assert worker.lanes.accepts(0)
    assert worker.sought == [(0, 2)]
    assert len(worker.benches[0]) == 3
    assert worker.crashes == []


async def test_where_a_log_was_seen_to_end_is_noted_before_a_person_is_asked(worker: Worker) -> None:
    """Though it may have grown since; what the person decides then holds."""
    await worker.lanes.assigned([0], 7)
    await soon()
    worker.lanes.offer(0, 7, known(0, 1, 2))
    await soon()
    worker.asks_if_cut = True
    worker.lanes.reopen(0, 1)
    await asyncio.sleep(1)
    noted = worker.logs[0].position
    assert (noted.offset, epochs_of(noted).cut) == (3, 1)
    assert "start-at actions 0" in worker.lanes.opening[0]
    worker.logs[0].position = Position(4, "")
    await asyncio.sleep(2 * Lanes.LOOK_EVERY)
    assert worker.sought == [(0, 4)]
    assert worker.crashes == []


async def test_a_lane_that_opens_anew_is_closed_when_its_partition_is_revoked(worker: Worker) -> None:
    """Also while it still closes: it commits nothing for somebody else's partition."""
    await worker.lanes.assigned([0], 7)
    await soon()
    old = worker.bench(0).lane
    worker.lanes.reopen(0)
    await worker.lanes.revoked([0])
    assert old.in_flight == 0
    assert worker.lanes.opening == {}
    assert len(worker.lanes) == 0
    assert worker.lanes.in_flight == 0


async def test_records_are_taken_where_the_gate_is_open_and_the_lane_has_room(worker: Worker) -> None:
    """Both must agree: a lane with room is not enough while its partition's statuses are being read."""
    await worker.lanes.assigned(iter([0, 1]), 7)
    worker.gate.closed = {1}
    await soon()
    assert [worker.lanes.accepts(number) for number in range(3)] == [True, False, False]


async def test_the_gate_hears_of_an_assignment_before_any_lane_opens(worker: Worker) -> None:
    """No record slips past it; and of a revocation, since what it follows may not be ours any more."""
    heard: list[list[str]] = []
    worker.prepare = lambda _: heard.append(list(worker.gate.told))
    await worker.lanes.assigned([0], 7)
    await soon()
    await worker.lanes.revoked([0])
    assert heard == [["assigned [0]"]]
    assert worker.gate.told == ["assigned [0]", "revoked"]


async def test_the_group_is_joined_from_the_first_assignment_until_the_revocation(
    worker: Worker,
) -> None:
    """Also an empty assignment is one; from a revocation to the next one the worker has not joined."""
    joined = [worker.lanes.joined]
    await worker.lanes.assigned([], 7)
    joined.append(worker.lanes.joined)
    await worker.lanes.assigned([0], 8)
    joined.append(worker.lanes.joined)
    await worker.lanes.revoked([0])
    joined.append(worker.lanes.joined)
    assert joined == [False, True, True, False]


async def test_a_partition_that_is_not_ours_accepts_nothing(worker: Worker) -> None:
    """Chunks of partitions that were never assigned, or were revoked, are dropped."""
    await worker.lanes.assigned([0], 1)
    await soon()
    await worker.lanes.revoked([0])
    for partition in (0, 5):
        assert not worker.lanes.accepts(partition)
        worker.lanes.offer(partition, 1, known(0))
    await soon()
    assert worker.logs[0].offsets == []
    assert list(worker.lanes) == []


async def test_a_chunk_of_another_generation_is_dropped(worker: Worker) -> None:
    """Only what was fetched in the generation of the last assignment reaches a lane."""
    await worker.lanes.assigned([0], 4)
    await soon()
    for generation in (3, 5):
        worker.lanes.offer(0, generation, known(0))
    await soon()
    assert worker.logs[0].offsets == []
    worker.lanes.offer(0, 4, known(0))
    await soon()
    assert worker.logs[0].offsets == [0]


async def test_a_kept_partition_keeps_its_lane_in_the_new_generation(worker: Worker) -> None:
    """A lane outlives a rebalance that leaves it its partition, with what is pending; old chunks are late."""
    await worker.lanes.assigned([0, 1], 4)
    await soon()
    worker.lanes.offer(0, 4, lookup(0))
    await worker.lanes.assigned([0], 5)
    await soon()
    worker.lanes.offer(0, 4, known(1))
    worker.lanes.offer(0, 5, [*lookup(0), *known(1)])
    worker.bench(0).processor.answer(0)
    await soon()
    assert worker.logs[0].offsets == [1, 0]
    assert len(worker.benches[0]) == 1
    assert worker.bench(1).transactions.closed


async def test_a_lane_that_was_opening_through_a_rebalance_takes_the_new_generation(worker: Worker) -> None:
    """Assigned again before it was open, the partition's chunks are of the newer generation."""
    hung = asyncio.get_running_loop().create_future()
    worker.prepare = lambda bench: bench.transactions.opens.append(hung)
    await worker.lanes.assigned([0], 4)
    await soon()
    await worker.lanes.assigned([0], 5)
    hung.set_result(Ending.DONE)
    await soon()
    worker.lanes.offer(0, 4, known(0, 1))
    worker.lanes.offer(0, 5, known(0))
    await soon()
    assert worker.logs[0].offsets == [0]
    assert len(worker.benches[0]) == 1


async def test_what_lies_before_a_chunk_that_begins_too_late_is_read_again() -> None:
    """A chunk read beyond all that the lane was offered would hide a loss: what is between is asked for."""
    worker = Worker({0: FakeLog(position=Position(10, ""))})
    await worker.lanes.assigned([0], 1)
    await soon()
    worker.lanes.offer(0, 1, known(10, 11), 10)
    worker.lanes.offer(0, 1, known(13), 12)  # the log has no 12
    worker.lanes.offer(0, 1, known(12, 13), 11)  # read again
    assert worker.sought == []
    worker.lanes.offer(0, 1, known(16), 15)
    assert worker.sought == [(0, 14)]
    worker.lanes.offer(0, 1, known(17), 17)  # on its way already
    worker.lanes.offer(0, 1, known(14, 16, 17), 14)
    await soon()
    assert worker.logs[0].offsets == [10, 11, 13, 14, 16, 17]
    assert not worker.crashes
    await worker.lanes.close(0.0)


async def test_a_predecessor_that_goes_on_after_the_lane_opened_makes_nothing_twice_and_ends_nobody() -> None:
    """Its commit moves the group's offset beyond what the lane has, which reads up to there and adopts it."""
    log = FakeLog(position=Position(10, ""))
    predecessor, worker = Worker({0: log}), Worker({0: log})
    await predecessor.lanes.assigned([0], 4)
    await soon()
    await worker.lanes.assigned([0], 5)
    await soon()
    predecessor.lanes.offer(0, 4, known(10, 11), 10)  # fenced, it opens again and commits
    await asyncio.sleep(5)
    assert log.offsets == [10, 11]
    worker.lanes.offer(0, 5, known(12), 12)  # from the committed offset
    assert worker.sought == [(0, 10)]
    worker.lanes.offer(0, 5, known(10, 11, 12), 10)
    await asyncio.sleep(5)
    assert log.offsets == [10, 11, 12]
    assert not worker.crashes
    for each in (predecessor, worker):
        await each.lanes.close(0.0)


async def test_revoking_while_opening_leaves_nothing_open(worker: Worker) -> None:
    """A lane that has not opened yet never does; its transactions are closed, its epoch not taken."""
    worker.prepare = hanging
    await worker.lanes.assigned([0, 1], 1)
    await soon()
    await worker.lanes.revoked([0, 1])
    assert worker.lanes.opening == {}
    await asyncio.sleep(60)
    for partition in (0, 1):
        assert worker.bench(partition).transactions.closed
        assert len(worker.benches[partition]) == 1
        assert worker.logs[partition].epoch == 0
    assert len(worker.lanes) == 0


async def test_a_swallowed_cancellation_does_not_bring_a_revoked_lane_to_life(worker: Worker) -> None:
    """When opening ends well although it was cancelled, the lane is closed, not kept."""

    def deaf(bench: Bench) -> None:
        open_in_earnest = bench.transactions.open

        async def open_whatever_happens() -> Position:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(5)
            return await open_in_earnest()

        bench.transactions.open = open_whatever_happens  # type: ignore[method-assign]  # a library that is deaf

    worker.prepare = deaf
    await worker.lanes.assigned([0], 1)
    await soon()
    await worker.lanes.revoked([0])
    assert len(worker.lanes) == 0
    assert worker.lanes.opening == {}
    assert worker.bench(0).transactions.closed


async def test_reassigned_to_the_same_worker_the_old_lanes_answers_change_nothing(worker: Worker) -> None:
    """What waited in the old lane is done by the new one; the old lookups' late answers are ignored."""
    await worker.lanes.assigned([0], 1)
    await soon()
    worker.lanes.offer(0, 1, [*lookup(0), *known(1)])
    await soon()
    await worker.lanes.revoked([0])
    await worker.lanes.assigned([0], 2)
    await soon()
    worker.lanes.offer(0, 2, [*lookup(0), *known(1)])
    await soon()
    old, new = worker.benches[0]
    old.processor.answer(0, found=b"late")
    await soon()
    assert worker.logs[0].offsets == [1]
    new.processor.answer(0)
    await soon()
    assert [record.value for record in worker.logs[0].written] == [b"known", b"found"]
    assert worker.logs[0].position == Position(2, "")


async def test_closing_gives_every_lane_the_same_grace(worker: Worker) -> None:
    """Lanes close side by side: answers within the grace are written, and it is not added up."""
    await worker.lanes.assigned([0, 1, 2], 1)
    await soon()
    for partition in range(3):
        worker.lanes.offer(partition, 1, lookup(0, 1))
    loop = asyncio.get_running_loop()
    for partition in range(3):
        loop.call_later(1.0, worker.bench(partition).processor.answer, 1)
    began = loop.time()
    await worker.lanes.close(5.0)
    assert loop.time() - began < 6.0
    assert [worker.logs[partition].offsets for partition in range(3)] == [[1], [1], [1]]


async def test_an_opening_that_fails_is_tried_again_with_a_new_lane(worker: Worker) -> None:
    """Until the cluster is there the failure is named; then the lane opens, and works."""
    worker.prepare = lambda bench: (
        bench.transactions.opens.append(Ending.FAILED) if len(worker.benches[0]) < 4 else None
    )
    await worker.lanes.assigned([0], 1)
    await soon()
    assert worker.lanes.opening == {0: "Down"}
    await asyncio.sleep(3.5 * Lanes.RETRY_EVERY)
    assert worker.lanes.opening == {}
    assert len(worker.benches[0]) == 4
    assert all(bench.transactions.closed for bench in worker.benches[0][:-1])
    worker.lanes.offer(0, 1, known(0))
    await soon()
    assert worker.logs[0].offsets == [0]
    assert not worker.crashes


async def test_a_cluster_that_cannot_say_where_a_partition_begins_is_asked_again() -> None:
    """A failure of Kafka while pinning the beginning is no reason to end the worker."""
    worker = Worker({0: FakeLog(position=Position(None, ""))})
    worker.beginnings = [KafkaConnectionError("some text"), 40]
    await worker.lanes.assigned([0], 1)
    await soon()
    assert worker.lanes.opening == {0: "KafkaConnectionError"}
    await asyncio.sleep(1.5 * Lanes.RETRY_EVERY)
    assert worker.logs[0].position == Position(40, "")
    assert not worker.crashes
    await worker.lanes.close(0.0)


async def test_a_partition_waits_for_a_person_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is shown and logged once; after the decision the consumer reads from there."""
    worker = Worker({0: FakeLog(position=Position(1_000, ""))})
    worker.undecided = {0}
    await worker.lanes.assigned([0], 1)
    await soon()
    assert worker.lanes.opening[0].startswith("a decision: it is beyond the end; `streams start-at actions 0")
    await worker.lanes.assigned([0, 1], 2)
    await asyncio.sleep(1.5 * Lanes.LOOK_EVERY)
    assert worker.lanes.partitions() == {1}
    worker.undecided.clear()
    worker.logs[0].position = Position(10, "")
    await asyncio.sleep(2 * Lanes.LOOK_EVERY)
    assert worker.lanes.partitions() == {0, 1}
    assert worker.sought == [(0, 10)]
    assert len([each for each in caplog.records if each.event == "partition_waits"]) == 1  # type: ignore[attr-defined]  # ours
    assert not worker.crashes
    await worker.lanes.close(0.0)


@pytest.mark.parametrize("refusal", [Ending.DENIED, RuntimeError()])
async def test_what_no_retry_can_mend_is_reported_once(worker: Worker, refusal: Ending | Exception) -> None:
    """A refusal by access rules, or a bug, ends the worker; the lane is let go and never accepts."""

    def refusing(bench: Bench) -> None:
        future = asyncio.get_running_loop().create_future()
        if isinstance(refusal, Exception):
            future.set_exception(refusal)
        else:
            future.set_result(refusal)
        bench.transactions.opens.append(future)

    worker.prepare = refusing
    await worker.lanes.assigned([0], 1)
    await asyncio.sleep(60)
    assert [type(exc) for exc in worker.crashes] == [Denied if refusal is Ending.DENIED else RuntimeError]
    assert not worker.lanes.accepts(0)
    assert 0 in worker.lanes.opening
    assert worker.bench(0).transactions.closed


async def test_a_lane_that_cannot_even_be_made_is_reported(worker: Worker) -> None:
    """A bug in making the lane does not vanish in a background task."""

    def broken(bench: Bench) -> None:
        raise ZeroDivisionError

    worker.prepare = broken
    await worker.lanes.assigned([0], 1)
    await soon()
    assert [type(exc) for exc in worker.crashes] == [ZeroDivisionError]


async def test_a_lane_that_closes_is_in_flight_until_it_has_let_go(worker: Worker) -> None:
    """What a revoked lane holds counts as long as it waits for its lookups, and is then handed over."""
    await worker.lanes.assigned([0], 1)
    await soon()
    worker.lanes.offer(0, 1, [*known(0), *lookup(1)])
    await soon()
    assert worker.lanes.in_flight == 1
    closing = asyncio.create_task(worker.lanes.close(2.0))
    await asyncio.sleep(1.0)
    assert list(worker.lanes) == []
    assert worker.lanes.in_flight == 1
    await closing
    assert worker.lanes.in_flight == 0
    seen = worker.bench(0).observer
    assert (seen.took, seen.offsets, seen.releases) == (2, [0], {"handed_over": 1})
