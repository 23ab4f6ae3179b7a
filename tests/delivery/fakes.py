"""A cluster of a few lines, and what else a lane talks to, so that every failure can be made to happen."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from streams.delivery.fetched import Fetched, InBatch, Many, Run, Step
from streams.delivery.fetched_lane import FetchedLane
from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.results import AwaitingLookup, Processed, PutOff, RecordOutcome, Release, Result
from streams.delivery.transaction import (
    BatchRefused,
    Denied,
    Fenced,
    Outgoing,
    Position,
    RecordRefused,
    RecordTooLarge,
    TransactionFailed,
)

EMAILS = "confirmation-emails"


def microseconds() -> float:
    """The loop's clock, rounded: asyncio fires a timer that is due within a nanosecond, and virtual time then
    stands still for whoever waits for the rest of it.
    """
    return round(asyncio.get_running_loop().time(), 6)


async def soon() -> None:
    """Let everything happen that waits for no more than a millisecond."""
    await asyncio.sleep(0.001)


def later() -> asyncio.Future[Any]:
    """What ends a call of the transactions when a test gives it its ending."""
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True)
class FakeRecord:
    """A consumed record. Its value says what the fake processor makes of it: known, lookup, nothing."""

    offset: int
    value: bytes | None = b"known"
    key: bytes = b"310:ref"
    headers: tuple[Any, ...] = ()
    timestamp: int = 0


def known(*offsets: int) -> list[FakeRecord]:
    return [FakeRecord(offset) for offset in offsets]


def lookup(*offsets: int) -> list[FakeRecord]:
    return [FakeRecord(offset, b"lookup") for offset in offsets]


class Ending(Enum):
    """How a call of the transactions ends."""

    DONE = auto()
    FAILED = auto()  # without effect
    ANSWER_LOST = auto()  # with effect
    LATE = auto()  # fails; the effect may still come, unless a newer epoch prevents it
    DENIED = auto()
    BATCH_REFUSED = auto()  # for what is in it; nobody knows yet which record it is


@dataclass
class FakeLog:
    """What the cluster has for one partition: written records, the committed position, the newest epoch."""

    position: Position = field(default_factory=lambda: Position(0, ""))
    written: list[Outgoing] = field(default_factory=list)
    transactions: list[tuple[list[int], int | None, str | None]] = field(default_factory=list)
    epoch: int = 0
    limits: dict[str, int] = field(default_factory=dict)  # by topic, in bytes
    most: int | None = None  # records that a transaction may have before it takes too long; None: any number

    late: list[tuple[int, list[Outgoing], Position]] = field(default_factory=list)

    def apply(self, records: list[Outgoing], position: Position) -> None:
        """Let one transaction take effect."""
        self.written += records
        self.position = position
        self.transactions.append(([source(record) for record in records], *position))

    def land(self) -> None:
        """Let the oldest late effect arrive: it is refused if its writer was fenced meanwhile."""
        epoch, records, position = self.late.pop(0)
        if epoch == self.epoch:
            self.apply(records, position)

    @property
    def offsets(self) -> list[int]:
        """The source offsets of what was written, in order."""
        return [source(record) for record in self.written]


def source(record: Outgoing) -> int:
    """The offset of the record that this one was made from."""
    return int(record.key or b"")


class FakeTransactions:
    """Fences as Kafka does: an older epoch's commit has no effect, however late it arrives."""

    def __init__(self, log: FakeLog) -> None:
        self.log = log
        self.opens: deque[Ending | asyncio.Future[Ending]] = deque()  # how the next calls end; then DONE
        self.commits: deque[Ending | asyncio.Future[Ending]] = deque()
        self.attempts = 0  # commits begun
        self.closed = False
        self._epoch = -1

    async def open(self) -> Position:
        ending = await self._ending(self.opens)
        if ending in (Ending.FAILED, Ending.LATE):
            raise TransactionFailed("Down")
        if ending is Ending.DENIED:
            raise Denied("no")
        self.log.epoch += 1
        self._epoch = self.log.epoch
        return self.log.position

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        assert not self.closed, "closed transactions were used"
        assert len(metadata) < 4096
        self.attempts += 1
        records = list(records)
        self._check_epoch()
        for index, record in enumerate(records):
            limit = self.log.limits.get(record.topic, 1 << 20)
            for each in spread([record]):
                if (size := len(each.value or b"")) > limit:
                    raise (
                        BatchRefused("BatchTooLarge")
                        if type(record) is InBatch
                        else RecordTooLarge(index, limit, size)
                    )
        records = spread(records)
        if self.log.most is not None and len(records) > self.log.most:
            raise TransactionFailed("TimeoutError")
        position = Position(offset, metadata)
        try:
            ending = await self._ending(self.commits)
        except asyncio.CancelledError:  # what was sent was sent
            self.log.late.append((self._epoch, records, position))
            raise
        if ending is Ending.LATE:
            self.log.late.append((self._epoch, records, position))
        if ending in (Ending.FAILED, Ending.LATE):
            raise TransactionFailed("Failed")
        if ending is Ending.DENIED:
            raise Denied("no")
        if ending is Ending.BATCH_REFUSED:
            raise BatchRefused("InvalidRecordError")
        self._check_epoch()
        self.log.apply(records, position)
        if ending is Ending.ANSWER_LOST:
            raise TransactionFailed("TimeoutError")

    async def close(self) -> None:
        self.closed = True

    async def _ending(self, planned: deque[Ending | asyncio.Future[Ending]]) -> Ending:
        if not planned:
            return Ending.DONE
        ending = planned.popleft()
        return ending if isinstance(ending, Ending) else await ending

    def _check_epoch(self) -> None:
        if self._epoch != self.log.epoch:
            raise Fenced("ProducerFenced")


class FakeProcessor:
    """Decides by a record's value; the test answers what waits."""

    def __init__(self) -> None:
        self.answers: dict[int, asyncio.Future[Any]] = {}
        self.asked: list[int] = []
        self.not_now = False
        self.no_room = False  # for one more lookup
        self.bugs: set[int] = set()  # offsets on which process raises
        self.faults: list[tuple[int, str]] = []
        self.refused: list[int] = []
        self.hopeless = False  # on_error itself raises

    def process(self, record: FakeRecord) -> Result | AwaitingLookup | PutOff | None:
        self.asked.append(record.offset)
        if record.offset in self.bugs:
            raise ZeroDivisionError
        if self.not_now:
            return None
        if record.value is None:
            return Result(None, ("tombstone",))
        if record.value.startswith(b"lookup"):
            if self.no_room:
                return PutOff.UNTIL_ANSWERED
            answer = asyncio.get_running_loop().create_future()
            self.answers[record.offset] = answer
            return AwaitingLookup(answer, lambda answer: self._conclude(record, answer.result()))
        return Result(self._outgoing(record, record.value), ("email",))

    def answer(self, *offsets: int, found: bytes = b"found") -> None:
        """Let these lookups end."""
        for offset in offsets:
            self.answers[offset].set_result(found)

    def on_refused(self, record: FakeRecord, result: Result, refused: RecordRefused) -> Result | None:
        self.refused.append(record.offset)
        if result.outcome == ("dead_letter", "too_large"):
            return None  # a bare notice already
        return Result(self._outgoing(record, b"refused", "actions.dlq"), ("dead_letter", "too_large"))

    def on_error(self, record: FakeRecord, exc: BaseException) -> Result:
        if self.hopeless:
            raise RecursionError
        self.faults.append((record.offset, type(exc).__name__))
        return Result(self._outgoing(record, b"fault", "actions.dlq"), ("dead_letter", "internal_error"))

    halted: str | None = None

    def _conclude(self, record: FakeRecord, found: bytes) -> Result:
        if found == b"bug":
            raise ZeroDivisionError
        return Result(self._outgoing(record, found), ("email",))

    def _outgoing(self, record: FakeRecord, value: bytes, topic: str = EMAILS) -> Outgoing:
        return Outgoing(topic, b"%d" % record.offset, value, [])


class FakeObserver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[RecordOutcome] = []
        self.offsets: list[int] = []
        self.failures: list[str] = []
        self.refusals = 0
        self.took = 0
        self.releases: Counter[str] = Counter()

    def taken(self, partition: int, count: int) -> None:
        self.took += count

    def released(self, partition: int, why: Release, count: int) -> None:
        self.releases[why] += count

    def committed(self, partition: int, entries: Sequence[Processed]) -> None:
        for record, result in entries:
            if type(record) is Run:
                outcomes = [_result(each).outcome for each in within(record)]
                assert result.outcome.outcomes == Counter(outcomes)
                self.outcomes += outcomes
                self.offsets += [each.offset for each in within(record)]
            else:
                self.outcomes.append(result.outcome)
                self.offsets.append(record.offset)

    def failed(self, partition: int, failure: str) -> None:
        self.failures.append(failure)

    def metadata_refused(self, partition: int) -> None:
        self.refusals += 1


class FakeBatch:
    """A batch with room for a few emails."""

    ROOM = 4

    def __init__(self, most: int = 1 << 20) -> None:
        self.records: list[Outgoing] = []
        self._most = most  # bytes of an email

    def append(self, *, timestamp: int, key: bytes | None, value: bytes | None, headers: Any) -> bool:
        if len(self.records) == self.ROOM or len(value or b"") > self._most:
            return False
        self.records.append(Outgoing(EMAILS, key, value, headers))
        return True

    def size(self) -> int:
        return sum(len(record.value or b"") for record in self.records)

    def record_count(self) -> int:
        return len(self.records)


def spread(records: Sequence[Outgoing]) -> list[Outgoing]:
    """The records of a transaction, with those of its batches in their places."""
    found: list[Outgoing] = []
    batches: list[Any] = []
    for record in records:
        if type(record) is not InBatch:
            found.append(record)
        elif record.batch not in batches:
            batches.append(record.batch)
            found += record.batch.records  # type: ignore[attr-defined]  # a fake one
    return found


def within(run: Run) -> list[FakeRecord]:
    """The records of a run."""
    found: list[FakeRecord] = []
    for fetched, first, up_to in run.ranges:
        records: Any = fetched.raw
        begin, end = (bisect_left(records, at, key=lambda each: each.offset) for at in (first, up_to))
        found += records[begin:end]
    return found


class FakePasses:
    """Judges what is known, and what asks for nothing, as the fake processor does."""

    emails_topic = EMAILS

    def __init__(self, processor: FakeProcessor, log: FakeLog) -> None:
        self._processor, self._log = processor, log

    def begin(self, fetched: Fetched, next_offset: int) -> FakePass | None:
        return FakePass(self.records(fetched, next_offset), self._is_usual, self._processor.asked)

    def _is_usual(self, record: FakeRecord) -> bool:
        """Whether nothing that a test does with its processor concerns the record."""
        limit = self._log.limits.get(EMAILS, 1 << 20)
        usual = record.value is None or (record.value == b"known" and len(record.value) <= limit)
        return usual and record.offset not in self._processor.bugs and not self._processor.not_now

    def records(self, fetched: Fetched, next_offset: int) -> list[Any]:
        records: Any = fetched.raw
        return [record for record in records if record.offset >= next_offset]

    def new_batch(self, fetched: Fetched) -> FakeBatch:
        return FakeBatch(self._log.limits.get(EMAILS, 1 << 20))

    def now_ms(self) -> int:
        return 0

    def one_by_one(self, count: int) -> None:
        pass

    def unfolded(self, run: Run) -> list[tuple[int, Processed]]:
        batch: Any = run.batch
        at, entries = 0, []
        for record in within(run):
            result = _result(record)
            at = at if result.outgoing is None else batch.records.index(result.outgoing)
            entries.append((at, Processed(record, result)))
        return entries


class FakePass:
    """A pass over some records."""

    def __init__(self, records: list[Any], is_usual: Callable[[FakeRecord], bool], asked: list[int]) -> None:
        self.is_usual, self.asked = is_usual, asked
        self.left = deque(records)
        self.last = records[-1].offset + 1 if records else 0
        self.many = Many()

    def go_on(self, batch: Any, most: int) -> Step:
        taken = held = emails = 0
        while self.left:
            record = self.left[0]
            if not self.is_usual(record):
                self.left.popleft()
                return Step(record.offset, taken, held, [record])
            result = _result(record)
            if (email := result.outgoing) is not None:
                if emails == most:
                    return Step(record.offset, taken, held, ())
                if not batch.append(timestamp=0, key=email.key, value=email.value, headers=[]):
                    return Step(record.offset, taken, held, (), is_full=True)
                emails += 1
                held += len(email.value or b"")
            self.asked.append(record.offset)
            self.many.outcomes[result.outcome] += 1
            self.left.popleft()
            taken += 1
        return Step(self.last, taken, held, (), is_last=True)

    def counted(self, many: Many) -> None:
        many.outcomes.update(self.many.outcomes)
        self.many = Many()


def _result(record: FakeRecord) -> Result:
    if record.value is None:
        return Result(None, ("tombstone",))
    return Result(Outgoing(EMAILS, b"%d" % record.offset, record.value, []), ("email",))


class PackingLane(FetchedLane):
    """Is offered records, and takes those that a fetch would bring together as one."""

    def offer(self, records: Sequence[Any]) -> None:
        packed: list[Any] = []
        for record in records:
            if type(record) is not FakeRecord:  # stands for many itself
                packed.append(record)
            elif packed and type(packed[-1]) is list:
                packed[-1].append(record)
            else:
                packed.append([record])
        super().offer([_packed(each) if type(each) is list else each for each in packed])


def _packed(records: Any) -> Fetched:
    first, last = records[0], records[-1]
    return Fetched(records, (), first.offset, last.offset + 1, len(records), first.timestamp)


#: The two kinds of lanes, by name.
KINDS: dict[str, type[Lane]] = {"records": Lane, "fetched": PackingLane}


class Bench:
    """A lane with everything around it."""

    def __init__(self, log: FakeLog | None = None, kind: type[Lane] = Lane, **limits: Any) -> None:
        self.log = log if log is not None else FakeLog()
        self.transactions = FakeTransactions(self.log)
        self.processor = FakeProcessor()
        self.observer = FakeObserver()
        self.crashes: list[Exception] = []
        passes: dict[str, Any] = {}
        if kind is PackingLane:
            passes["passes"] = FakePasses(self.processor, self.log)
        self.lane = kind(
            3,
            self.transactions,
            self.processor,
            self.observer,
            clock=microseconds,
            on_crash=self.crashes.append,
            limits=LaneLimits(**limits),
            **passes,
        )

    async def open(self, beginning: int = 0) -> Lane:
        async def begin(committed: Position) -> Position:
            return Position(beginning, "") if committed.offset is None else committed

        await self.lane.open(begin)
        return self.lane


async def committing(bench: Bench) -> asyncio.Future[Any]:
    """Have the lane commit record 0; return what ends that transaction."""
    ending = later()
    bench.transactions.commits.append(ending)
    bench.lane.offer(known(0))
    await soon()
    return ending
