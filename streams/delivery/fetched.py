"""Fetched record batches that a lane takes whole, and what a pass over them leaves in its books.

A lane of :mod:`streams.delivery.lane` takes a record at a time. One that is given :class:`Passes`
(:mod:`streams.delivery.fetched_lane`) also takes :class:`Fetched`: the bytes of a fetch in the place of its
records. A pass goes through them up to the next record that it may not judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from streams.delivery.results import Processed, Record, RecordOutcome
from streams.delivery.timestamps import EARLIEST_MS
from streams.delivery.transaction import Outgoing


class Fetched:
    """The batches of one fetch. Among the records of a chunk it stands where they would be."""

    __slots__ = (
        "aborted",
        "count",
        "first_offset",
        "headers",
        "inflated",
        "key",
        "offset",
        "raw",
        "timestamp",
        "value",
    )

    def __init__(
        self,
        raw: bytes,
        aborted: Sequence[tuple[int, int]],
        first_offset: int,
        next_offset: int,
        count: int,
        timestamp: int,
        inflated: Mapping[int, bytes] = MappingProxyType({}),
    ) -> None:
        """Wrap what a broker sent.

        Args:
            raw: whole record batches; a last one that is cut off is passed over.
            aborted: producer id and first offset of each aborted transaction, as the broker lists them.
            first_offset: records below it are passed over.
            next_offset: behind the last whole batch.
            count: records in it, at most.
            timestamp: of the earliest batch, milliseconds since the epoch.
            inflated: the records of each compressed batch, by the byte of `raw` at which the batch begins.
        """
        self.raw = raw
        self.aborted = aborted
        self.first_offset = first_offset
        self.offset = next_offset - 1  # of the last one that it stands for
        self.count = count
        self.timestamp = timestamp
        self.inflated = inflated
        self.key = self.value = None
        self.headers = ()

    @property
    def timestamp_type(self) -> int:
        """Return 0: the producers' time, as far as this is known of many."""
        return 0


class EmailsBatch(Protocol):
    """A produce batch that is filled with emails, as aiokafka's producer takes it. No method waits."""

    def append(self, *, timestamp: int, key: bytes | None, value: bytes | None, headers: Any) -> bool:
        """Append a record (timestamp in milliseconds); return False where it has no room.

        Raises:
            UnicodeEncodeError: the name of a header is not text.
        """
        ...

    def size(self) -> int:
        """Return the bytes of the whole batch."""
        ...

    def record_count(self) -> int:
        """Return how many emails it has."""
        ...


class InBatch(Outgoing):
    """What is written already into `batch`: one record, or all emails of a :class:`Run`."""

    batch: EmailsBatch
    at: int  # the number of emails before it in the batch

    @classmethod
    def of(cls, outgoing: Outgoing, batch: EmailsBatch, at: int = 0) -> InBatch:
        """Note that this goes to the broker within `batch`, behind `at` others."""
        made = cls(*outgoing)
        made.batch, made.at = batch, at
        return made


class Many:
    """The outcomes of many records, and the timestamps of those that got an email, with their numbers."""

    __slots__ = ("outcomes", "timestamps")

    def __init__(self) -> None:
        self.outcomes: Counter[RecordOutcome] = Counter()
        self.timestamps: Counter[int] = Counter()  # milliseconds since the epoch


class Run:
    """The records that passes have gone through for one batch: stands in a lane's books for all of them."""

    __slots__ = ("batch", "count", "held", "many", "ranges", "timestamp")

    def __init__(self, batch: EmailsBatch, timestamp: int) -> None:
        self.batch = batch
        self.timestamp = timestamp  # no record is of an earlier time, as far as known; milliseconds
        self.many = Many()
        self.count = 0  # records
        self.held = 0  # bytes of their emails
        #: Where they are: from an offset up to, and without, another one. What lies between is not of it.
        self.ranges: list[tuple[Fetched, int, int]] = []

    @property
    def offset(self) -> int:
        """The first offset."""
        return self.ranges[0][1]

    def add(self, fetched: Fetched, first: int, up_to: int, count: int, held: int) -> None:
        """Note `count` more records, all from one offset up to another, with `held` bytes of emails."""
        self.ranges.append((fetched, first, up_to))
        if EARLIEST_MS <= fetched.timestamp < self.timestamp or self.timestamp < EARLIEST_MS:
            self.timestamp = fetched.timestamp
        self.count += count
        self.held += held


class Step(NamedTuple):
    """What one step of a pass came to."""

    up_to: int  # offset; whatever is below it is dealt with, but for `records`
    taken: int  # records that the pass has judged
    held: int  # bytes of their emails
    records: Sequence[Record]  # that the pass may not judge: they come next
    is_full: bool = False  # the batch has no room
    is_last: bool = False  # the fetch has nothing behind `records`


class Pass(Protocol):
    """A pass over one fetch. No method waits."""

    def go_on(self, batch: EmailsBatch, most: int) -> Step:
        """Write emails into `batch`, at most `most` more; stop at what is not to be judged here."""
        ...

    def counted(self, many: Many) -> None:
        """Add what was judged since the last call."""
        ...


class Passes(Protocol):
    """Makes passes for one lane. No method waits."""

    emails_topic: str

    def begin(self, fetched: Fetched, next_offset: int) -> Pass | None:
        """Begin a pass at an offset; None: none may be made now, and each record is to be processed."""
        ...

    def records(self, fetched: Fetched, next_offset: int) -> list[Record]:
        """Return the records of a fetch from an offset on."""
        ...

    def new_batch(self, fetched: Fetched) -> EmailsBatch:
        """Return a batch without emails."""
        ...

    def now_ms(self) -> int:
        """Return the time for an email's record, milliseconds since the epoch."""
        ...

    def one_by_one(self, count: int) -> None:
        """So many records were fetched in a form that no pass takes."""
        ...

    def unfolded(self, run: Run) -> list[tuple[int, Processed]]:
        """Return an entry for each record of a run, by offset, with its email as it is in the batch.

        The number before it is that of the emails before its own in the batch; for a record without an email,
        that of the emails up to the last record that has one.
        """
        ...
