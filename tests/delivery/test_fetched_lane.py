"""What only a lane with passes does; what every lane does stands in test_lane.py, for both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from weakref import WeakSet

import pytest

from streams.delivery import commit_metadata
from streams.delivery.fetched import Fetched, InBatch, Run
from streams.delivery.fetched_lane import FetchedLane
from streams.delivery.results import Release
from streams.delivery.transaction import Outgoing, Position
from tests.delivery.fakes import (
    KINDS,
    Bench,
    Ending,
    FakeBatch,
    FakeLog,
    FakeRecord,
    committing,
    known,
    later,
    lookup,
    soon,
)

pytestmark = pytest.mark.usefixtures("virtual_time")
Opens = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def opened() -> AsyncIterator[Opens]:
    """Makes benches with open lanes that have passes; they are closed in the end."""
    benches: list[Bench] = []

    async def opened(log: FakeLog | None = None, **limits: Any) -> Bench:
        bench = Bench(log, KINDS["fetched"], **limits)
        benches.append(bench)
        await bench.open()
        return bench

    yield opened
    for bench in benches:
        await bench.lane.close()


def commits(bench: Bench) -> list[list[Outgoing]]:
    """What the lane gives to each transaction from now on."""
    given: list[list[Outgoing]] = []
    commit = bench.transactions.commit

    async def noting(records: Any, offset: int, metadata: str) -> None:
        given.append(list(records))
        await commit(records, offset, metadata)

    bench.transactions.commit = noting  # type: ignore[method-assign]
    return given


async def test_a_pass_asks_the_processor_only_for_what_it_may_not_judge(opened: Opens) -> None:
    """Known records do not reach the processor; the offsets of both are committed."""
    bench = await opened()
    processed: list[int] = []
    process = bench.processor.process
    bench.processor.process = lambda record: processed.append(record.offset) or process(record)  # type: ignore[method-assign, func-returns-value]
    bench.lane.offer([*known(0, 1), *lookup(2), *known(3)])
    await soon()
    assert processed == [2]
    assert bench.log.offsets == [0, 1, 3]
    assert bench.observer.took == 4
    bench.processor.answer(2)
    await soon()
    assert bench.log.position == Position(4, "")


async def test_the_oldest_of_many_fetches_is_known(opened: Opens) -> None:
    """Of several fetches in one batch the earliest timestamp shows, whichever came first."""
    start = 1_764_000_000_000
    bench = await opened()
    bench.transactions.commits.append(under_way := later())
    bench.lane.offer([FakeRecord(0, timestamp=start + 90)])
    await soon()
    for offset, timestamp in ((1, start + 70), (2, 0), (3, start + 50), (4, start + 60)):
        bench.lane.offer([FakeRecord(offset, timestamp=timestamp)])
    assert bench.lane.oldest_timestamp_ms == start + 50
    under_way.set_result(Ending.DONE)
    await soon()
    assert bench.log.offsets == [0, 1, 2, 3, 4]
    assert bench.lane.oldest_timestamp_ms is None


async def test_what_many_passes_have_judged_is_few_batches(opened: Opens) -> None:
    """A batch stays open between other results, and their emails go into it, in their order."""
    bench = await opened()
    given = commits(bench)
    other = FakeRecord(1, b"known, and not usual")
    bench.lane.offer([*known(0), other, *known(2)])
    await soon()
    assert bench.log.offsets == [0, 1, 2]
    assert all(type(each) is InBatch for each in given[0])
    assert len({id(each.batch) for each in given[0] if isinstance(each, InBatch)}) == 1


async def test_a_long_fetch_is_judged_in_slices(opened: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fetch keeps other tasks waiting for no more than a slice, and a slice's end ends no batch."""
    monkeypatch.setattr(FakeBatch, "ROOM", 10 * FetchedLane.SLICE)
    bench = await opened(ready=10 * FetchedLane.SLICE)
    given = commits(bench)
    bench.lane.offer(known(*range(3 * FetchedLane.SLICE)))
    assert len(bench.processor.asked) == FetchedLane.SLICE
    await soon()
    assert bench.log.offsets == list(range(3 * FetchedLane.SLICE))
    assert [len(each) for each in given] == [1, 1]  # the first slice, and the other two


async def test_a_lane_without_work_has_no_batch(opened: Opens) -> None:
    """A batch has its memory from the start: none is kept for a pass that wrote nothing."""
    bench = await opened()
    passes: Any = bench.lane
    new_batch, made = passes._passes.new_batch, WeakSet[Any]()

    def noted(fetched: Fetched) -> FakeBatch:
        made.add(batch := new_batch(fetched))
        return batch  # type: ignore[no-any-return]  # a fake's

    passes._passes.new_batch = noted
    bench.lane.offer(lookup(0))
    await soon()
    bench.processor.answer(0)
    await soon()
    assert bench.log.offsets == [0]
    assert not bench.lane.has_work
    assert not made


async def test_a_full_batch_is_followed_by_another_one(opened: Opens) -> None:
    """More emails than a batch has room for leave in one transaction, in their order."""
    bench = await opened()
    count = 3 * FakeBatch.ROOM + 1
    bench.lane.offer(known(*range(count)))
    await soon()
    assert bench.log.transactions == [([*range(count)], count, "")]


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.ANSWER_LOST, Ending.BATCH_REFUSED])
async def test_a_transaction_in_doubt_is_unfolded_record_by_record(opened: Opens, ending: Ending) -> None:
    """After a failure each record has its own entry; none is missing, none is there twice."""
    bench = await opened(backoff=0.0)
    given = commits(bench)
    bench.transactions.commits.append(ending)
    bench.lane.offer([*known(0, 1), FakeRecord(2, None), *lookup(3), *known(4)])
    await asyncio.sleep(0.5)
    bench.processor.answer(3)
    await soon()
    assert sorted(bench.log.offsets) == [0, 1, 3, 4]
    assert len(bench.observer.offsets) + bench.observer.releases.total() == bench.observer.took == 5
    if ending is not Ending.ANSWER_LOST:
        assert not any(type(each) is InBatch for each in given[1])
    assert bench.lane._held_bytes == 0
    assert not bench.lane.has_work


async def test_what_a_predecessor_has_settled_is_passed_over_record_by_record(opened: Opens) -> None:
    """A fetch that reaches into settled runs is taken as single records."""
    log = FakeLog()
    log.position = Position(0, commit_metadata.encode(0, [(2, 3)]))
    bench = await opened(log)
    bench.lane.offer(known(0, 1, 2, 3, 4))
    await soon()
    assert bench.log.offsets == [0, 1, 4]
    assert bench.observer.releases == {Release.SETTLED_BEFORE: 2}


async def test_a_partition_that_waits_for_a_person_makes_no_pass(opened: Opens) -> None:
    """While it is halted nothing is judged; when it goes on, everything is."""
    bench = await opened()
    bench.processor.halted = "too many dead letters"
    bench.lane.offer(known(0, 1))
    await asyncio.sleep(1.0)
    assert bench.log.offsets == []
    assert bench.lane.stalled_for == 0.0
    bench.processor.halted = None
    await asyncio.sleep(1.0)
    assert bench.log.offsets == [0, 1]


async def test_what_no_pass_has_reached_when_the_lane_closes_was_not_taken(opened: Opens) -> None:
    """It is the successor's, and counted by it."""
    bench = await opened(ready=3)
    under_way = await committing(bench)
    bench.lane.offer(known(*range(1, 9)))
    await soon()
    closing = asyncio.create_task(bench.lane.close())
    await soon()
    under_way.set_result(Ending.DONE)
    await closing
    settled = len(bench.observer.offsets) + bench.observer.releases.total()
    assert settled == bench.observer.took < 9
    assert bench.lane.in_flight == 0


async def test_a_lane_takes_no_further_chunk_while_a_fetch_waits(opened: Opens) -> None:
    """The records of fetches count against the inbox as single ones do."""
    bench = await opened(inbox=4, uncommitted=2)
    bench.transactions.commits.append(under_way := later())
    bench.lane.offer(known(0, 1))
    await soon()
    assert bench.lane.accepts
    bench.lane.offer(known(2, 3, 4, 5))
    await soon()
    assert not bench.lane.accepts
    assert bench.lane.in_flight == 2
    under_way.set_result(Ending.DONE)
    await asyncio.sleep(0.5)
    assert bench.lane.accepts
    assert bench.log.offsets == [*range(6)]


class Single(FakeRecord):
    """A record that does not come within a fetch that is taken as one."""


async def test_records_that_come_one_by_one_have_no_room_beside_a_run_that_fills_it(opened: Opens) -> None:
    """A run counts with all of its records: a transaction has no more results than its limit."""
    bench = await opened(ready=3)
    under_way = await committing(bench)
    bench.lane.offer(known(1, 2, 3))
    bench.lane.offer([Single(4, b"known"), Single(5, b"known")])
    await soon()
    assert bench.lane.uncommitted == 1 + 3
    under_way.set_result(Ending.DONE)
    await soon()
    assert bench.log.offsets == [*range(6)]


async def test_a_run_knows_its_ranges() -> None:
    """Its first offset is that of the first range; records and bytes add up."""
    run = Run(FakeBatch(), 0)
    fetched = Fetched(b"", (), 5, 10, 5, 0)
    run.add(fetched, 5, 8, 3, 100)
    run.add(fetched, 9, 10, 1, 50)
    assert (run.offset, run.count, run.held) == (5, 4, 150)
