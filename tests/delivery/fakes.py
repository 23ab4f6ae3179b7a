"""A cluster of a few lines, and what else a lane talks to, so that every failure can be made to happen."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.results import AwaitingLookup, Processed, RecordOutcome, Release, Result
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


def microseconds() -> float:
    """The loop's clock, rounded: asyncio fires a timer that is due within a nanosecond, and virtual time then
    stands still for whoever waits for the rest of it.
    """
    return round(asyncio.get_running_loop().time(), 6)


async def soon() -> None:
    """Let everything happen that waits for no more than a millisecond."""
    await asyncio.sleep(0.001)


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
            limit, size = self.log.limits.get(record.topic, 1 << 20), len(record.value or b"")
            if size > limit:
                raise RecordTooLarge(index, limit, size)
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
        self.bugs: set[int] = set()  # offsets on which process raises
        self.faults: list[tuple[int, str]] = []
        self.refused: list[int] = []
        self.hopeless = False  # on_error itself raises

    def process(self, record: FakeRecord) -> Result | AwaitingLookup | None:
        self.asked.append(record.offset)
        if record.offset in self.bugs:
            raise ZeroDivisionError
        if self.not_now:
            return None
        if record.value is None:
            return Result(None, ("tombstone",))
        if record.value.startswith(b"lookup"):
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

    def _outgoing(self, record: FakeRecord, value: bytes, topic: str = "confirmation-emails") -> Outgoing:
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
        self.outcomes += [entry.result.outcome for entry in entries]
        self.offsets += [entry.record.offset for entry in entries]

    def failed(self, partition: int, failure: str) -> None:
        self.failures.append(failure)

    def metadata_refused(self, partition: int) -> None:
        self.refusals += 1


class Bench:
    """A lane with everything around it."""

    def __init__(self, log: FakeLog | None = None, **limits: Any) -> None:
        self.log = log if log is not None else FakeLog()
        self.transactions = FakeTransactions(self.log)
        self.processor = FakeProcessor()
        self.observer = FakeObserver()
        self.crashes: list[Exception] = []
        self.lane = Lane(
            3,
            self.transactions,
            self.processor,
            self.observer,
            clock=microseconds,
            on_crash=self.crashes.append,
            limits=LaneLimits(**limits),
        )

    async def open(self, beginning: int = 0) -> Lane:
        async def begin(committed: Position) -> Position:
            return Position(beginning, "") if committed.offset is None else committed

        await self.lane.open(begin)
        return self.lane
