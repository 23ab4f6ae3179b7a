"""Lanes under arbitrary interleavings of all that can happen to them, against what must always hold."""

import asyncio
import logging
from collections import deque
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.delivery import commit_metadata
from streams.delivery.lane import Lane
from streams.delivery.transaction import TransactionFailed
from tests.delivery.fakes import KINDS as KINDS_OF_LANES
from tests.delivery.fakes import Bench, Ending, FakeLog, FakeRecord, FakeTransactions, soon
from tests.lookup.virtual_time import VirtualLoop

LANES = list(KINDS_OF_LANES.values())
OFTEN = ["lookup"] * 4 + ["known"] * 3
ROOM = 50  # bytes that a record of the emails topic may have
TROUBLES = st.sampled_from([Ending.FAILED, Ending.ANSWER_LOST, Ending.LATE])
KINDS = {
    "known": b"known",
    "lookup": b"lookup",
    "bug": b"bug",
    "nothing": None,
    "too large": b"known" + b"x" * ROOM,
}


class ParkingTransactions(FakeTransactions):
    """Its calls end as planned; in between, while the cluster hangs, they wait for what the machine says."""

    def __init__(self, log: FakeLog) -> None:
        super().__init__(log)
        self.hangs = False
        self.parked: asyncio.Future[Ending] | None = None

    async def _ending(self, planned: deque[Any]) -> Ending:
        if planned or not self.hangs:
            return await super()._ending(planned)
        self.parked = asyncio.get_running_loop().create_future()
        try:
            return await self.parked
        finally:
            self.parked = None


class LiveLane:
    """A lane, the consumer that feeds it, and what goes on with it."""

    def __init__(self, log: FakeLog, bugs: set[int], kind: type[Lane]) -> None:
        self.bench = Bench(log, kind, uncommitted=6, fence_patience=0.0, backoff=0.0, close_within=0.2)
        self.transactions = self.bench.transactions = ParkingTransactions(log)
        self.bench.lane._transactions = self.transactions
        self.bench.processor.bugs = bugs
        self.next_offset = log.position.offset or 0  # looked up before the lane opens: never too far
        self.opening: asyncio.Task[Any] = asyncio.create_task(self.bench.open())
        self.closing: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        return self.opening.done() and self.closing is None

    @property
    def ended(self) -> bool:
        """Whether it could not open, or has closed."""
        if self.opening.done() and self.opening.exception() is not None:
            assert isinstance(self.opening.exception(), TransactionFailed)
            return True
        return self.closing is not None and self.closing.done()


class Lanes(RuleBasedStateMachine):
    """One partition; up to three lanes at once believe that it is theirs."""

    def __init__(self) -> None:
        super().__init__()
        logging.getLogger("streams.delivery.lane").setLevel(logging.CRITICAL)  # thousands of failures
        self.loop = VirtualLoop()
        self.log = FakeLog(limits={"confirmation-emails": ROOM})
        self.records: list[FakeRecord] = []
        self.bugs: set[int] = set()
        self.live: list[LiveLane] = []
        self.benches: list[Bench] = []  # of dead lanes too: their lookups still end
        self.furthest = self.first_kind = 0

    @initialize(kinds=st.lists(st.sampled_from(OFTEN), min_size=4, max_size=8), first=st.integers(0, 1))
    def begin(self, kinds: list[str], first: int) -> None:
        """There are records, and a lane for them; later lanes are of both kinds in turn."""
        self.first_kind = first
        self.more_records(0, kinds)
        self.assign()

    # -- the world ------------------------------------------------------------------------------------------

    @rule(
        gap=st.sampled_from([0, 0, 0, 1, 5]),
        kinds=st.lists(st.sampled_from(OFTEN + sorted(KINDS)), min_size=1, max_size=8),
    )
    def more_records(self, gap: int, kinds: list[str]) -> None:
        """More records, behind a gap: a transaction marker, something compacted or aborted."""
        first = (self.records[-1].offset + 1 if self.records else 0) + gap
        for offset, kind in enumerate(kinds, first):
            self.records.append(FakeRecord(offset, KINDS[kind]))
            if kind == "bug":
                self.bugs.add(offset)

    @precondition(lambda self: len(self.live) < 3)
    @rule()
    def assign(self) -> None:
        """A lane opens, while others may still live: theirs are zombies' lives then."""
        self._in_loop(self._assign)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 2), count=st.integers(1, 4))
    def offer(self, which: int, count: int) -> None:
        """The consumer brings a lane its next chunk."""
        self._in_loop(self._offer, self._lane(which), count)

    @precondition(lambda self: len(self.live) > 1)
    @rule(count=st.integers(1, 4))
    def offer_to_all(self, count: int) -> None:
        """Several lanes take the same partition further, side by side."""
        for lane in list(self.live):
            self._in_loop(self._offer, lane, count)

    @precondition(lambda self: len(self.live) > 1)
    @rule(found=st.booleans())
    def answer_one_of_each(self, found: bool) -> None:
        """In every lane the lookup that waits longest ends."""
        for lane in list(self.live):
            for waiting in [each for each in lane.bench.processor.answers.values() if not each.done()][:1]:
                self._in_loop(self._answer, waiting, b"found" if found else None)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 2))
    def seek_back(self, which: int) -> None:
        """The consumer reads from the committed offset again."""
        lane = self._lane(which)
        lane.next_offset = min(lane.next_offset, self.log.position.offset or 0)

    @precondition(lambda self: self.live)
    @rule(
        which=st.integers(0, 2), opens=st.lists(TROUBLES, max_size=1), commits=st.lists(TROUBLES, max_size=2)
    )
    def trouble_ahead(self, which: int, opens: list[Ending], commits: list[Ending]) -> None:
        """The next requests of a lane fail, in one of the ways that requests fail."""
        transactions = self._lane(which).transactions
        transactions.opens.extend(opens)
        transactions.commits.extend(commits)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 2), hangs=st.booleans())
    def hang(self, which: int, hangs: bool) -> None:
        """The cluster stops answering a lane, or begins again to."""
        self._lane(which).transactions.hangs = hangs

    @precondition(lambda self: any(lane.transactions.parked for lane in self.live))
    @rule(
        which=st.integers(0, 2),
        ending=st.sampled_from([Ending.DONE, Ending.DONE, Ending.FAILED, Ending.ANSWER_LOST, Ending.LATE]),
    )
    def proceed(self, which: int, ending: Ending) -> None:
        """A request that hung ends."""
        parked = [lane for lane in self.live if lane.transactions.parked]
        self._in_loop(parked[which % len(parked)].transactions.parked.set_result, ending)

    @precondition(lambda self: self.log.late)
    @rule()
    def land(self) -> None:
        """What was given up takes effect after all, if nobody has a newer epoch."""
        self.log.land()

    @precondition(lambda self: self._waiting())
    @rule(
        which=st.integers(0, 8), found=st.sampled_from([b"found", b"found", b"bug", b"x" * (ROOM + 1), None])
    )
    def answer(self, which: int, found: bytes | None) -> None:
        """A lookup ends, of a living lane or of a dead one."""
        waiting = self._waiting()
        self._in_loop(self._answer, waiting[which % len(waiting)], found)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 2))
    def not_now(self, which: int) -> None:
        """A processor that has no room, or has it again."""
        processor = self._lane(which).bench.processor
        processor.not_now = not processor.not_now
        self._in_loop(lambda: None)

    @rule(seconds=st.sampled_from([0.05, 0.3]))
    def time_passes(self, seconds: float) -> None:
        """What waits for a time-out gets it."""
        self._in_loop(lambda: None, seconds=seconds)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 2), end=st.sampled_from(["close", "crash", "no", "no", "no"]))
    def end(self, which: int, end: str) -> None:
        """A lane closes in good order, as far as the cluster lets it; or its worker dies.

        What a dead one had sent may still take effect.
        """
        if end != "no":
            self._in_loop(self._close if end == "close" else self._crash, self._lane(which))

    # -- what must hold -------------------------------------------------------------------------------------

    @invariant()
    def no_record_is_written_twice(self) -> None:
        assert len(set(self.log.offsets)) == len(self.log.offsets), self.log.transactions

    @invariant()
    def the_committed_position_says_exactly_what_is_written(self) -> None:
        committed = self.log.position.offset or 0
        runs = commit_metadata.decode(committed, self.log.position.metadata)
        assert committed >= self.furthest
        self.furthest = committed
        written = set(self.log.offsets)
        for offset, value in ((record.offset, record.value) for record in self.records):
            settled = offset < committed or any(first <= offset <= last for first, last in runs)
            if value is not None:
                assert settled == (offset in written), (offset, self.log.transactions)

    @invariant()
    def every_record_taken_is_accounted_for(self) -> None:
        for bench in self.benches:
            seen = bench.observer
            assert seen.took == len(seen.offsets) + seen.releases.total() + bench.lane.in_flight

    @invariant()
    def nothing_crashes(self) -> None:
        assert [bench.crashes for bench in self.benches if bench.crashes] == []
        assert self.loop.accidents == []

    def teardown(self) -> None:
        """At the end one lane is left, everything goes well for it: each record was written exactly once."""
        try:
            self._in_loop(lambda: None, seconds=0.05)
            for lane in self.live[:-1]:
                self._in_loop(self._crash, lane)
            if not (self.live and self.live[0].open):
                for lane in self.live:
                    self._in_loop(self._crash, lane)
                self._in_loop(self._assign)
            (last,) = self.live
            self.loop.run_until_complete(self._finish(last))
            self.no_record_is_written_twice()
            self.the_committed_position_says_exactly_what_is_written()
            self.nothing_crashes()
            self.every_record_taken_is_accounted_for()
            assert last.bench.lane.in_flight == 0
            assert set(self.log.offsets) == {r.offset for r in self.records if r.value is not None}
            assert self.log.position.metadata == ""
            assert last.bench.lane._held_bytes == 0
        finally:
            logging.getLogger("streams.delivery.lane").setLevel(logging.NOTSET)
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0.01))
            self.loop.close()

    # -- steps ----------------------------------------------------------------------------------------------

    def _in_loop(self, step: Any, *args: Any, seconds: float = 0.0) -> None:
        async def stepping() -> None:
            step(*args)
            await soon()
            if seconds:
                await asyncio.sleep(seconds)

        self.loop.run_until_complete(stepping())
        self.live = [lane for lane in self.live if not lane.ended]

    def _lane(self, which: int) -> LiveLane:
        return self.live[which % len(self.live)]

    def _waiting(self) -> list[asyncio.Future[Any]]:
        futures = [future for bench in reversed(self.benches) for future in bench.processor.answers.values()]
        return [future for future in futures if not future.done()]

    def _assign(self) -> None:
        # A worker's successor may have the native pass, and its own successor not.
        kind = LANES[(self.first_kind + len(self.benches)) % len(LANES)]
        self.live.append(LiveLane(self.log, self.bugs, kind))
        self.benches.append(self.live[-1].bench)

    def _offer(self, lane: LiveLane, count: int) -> None:
        if lane.open:
            chunk = [record for record in self.records if record.offset >= lane.next_offset][:count]
            lane.next_offset = chunk[-1].offset + 1 if chunk else lane.next_offset
            lane.bench.lane.offer(chunk)

    def _answer(self, waiting: asyncio.Future[Any], found: bytes | None) -> None:
        if found is None:
            waiting.cancel()
        else:
            waiting.set_result(found)

    def _close(self, lane: LiveLane) -> None:
        if lane.open:
            lane.closing = asyncio.create_task(lane.bench.lane.close(grace=0.02))

    def _crash(self, lane: LiveLane) -> None:
        self.live.remove(lane)
        for task in (lane.opening, lane.bench.lane._task, lane.closing):
            if task is not None:
                task.cancel()

    async def _finish(self, last: LiveLane) -> None:
        last.bench.processor.not_now = False
        last.transactions.hangs = False
        for _ in range(10 * len(self.records) + 20):
            self._offer(last, 1)
            if last.transactions.parked:
                last.transactions.parked.set_result(Ending.DONE)
            for waiting in self._waiting():
                waiting.set_result(b"found")
            await asyncio.sleep(0.03)
            if not (last.bench.lane.has_work or any(r.offset >= last.next_offset for r in self.records)):
                break


TestLanes = Lanes.TestCase
TestLanes.settings = settings(
    max_examples=300, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
