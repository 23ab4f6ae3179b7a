"""What a lane and its processor say to each other, and what the lane tells its observer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from enum import Enum, StrEnum
from typing import Any, NamedTuple, Protocol

from streams.delivery.transaction import Outgoing, RecordRefused

#: A consumed record: its offset, timestamp in ms, key, value and headers, as aiokafka names them.
Record = Any
#: What became of a record, one value of one kind; a lane hands it to its observer as it is.
RecordOutcome = Hashable


class Result(NamedTuple):
    """What becomes of one record: what is written for it, if anything, and what is counted."""

    outgoing: Outgoing | None
    outcome: RecordOutcome


class AwaitingLookup(NamedTuple):
    """A record that waits: `conclude` makes its result from `answer`, however that ended."""

    answer: asyncio.Future[Any]
    conclude: Callable[[asyncio.Future[Any]], Result]


class PutOff(Enum):
    """A record that cannot be processed yet; when it can is known."""

    UNTIL_ANSWERED = "when lookups that are pending have been answered, as they will be soon"


class Processor(Protocol):
    """Decides what becomes of a record. No method waits."""

    @property
    def halted(self) -> str | None:
        """Why no record is processed until a person has decided, or None."""
        ...

    def process(self, record: Record) -> Result | AwaitingLookup | PutOff | None:
        """Return the result, or what it waits for; None: not now, ask again soon."""
        ...

    def on_refused(self, record: Record, result: Result, refused: RecordRefused) -> Result | None:
        """Return what to write instead of a `result` that its topic refuses; None: there is nothing left."""
        ...

    def on_error(self, record: Record, exc: BaseException) -> Result:
        """Return what becomes of a record on which our own code failed."""
        ...


class Processed(NamedTuple):
    """A record with its result, on its way into a transaction."""

    record: Record
    result: Result


class Release(StrEnum):
    """Why a lane that took a record wrote nothing for it."""

    SETTLED_BEFORE = "settled_before"  # by a predecessor, or by this lane: it was read again
    SETTLED_MEANWHILE = "settled_meanwhile"  # found committed: by a successor, or by a transaction in doubt
    HANDED_OVER = "handed_over"  # the lane closed first: whoever has the partition next reads it again


class LaneObserver(Protocol):
    """Is told what a lane does.

    Each record taken is, sooner or later, committed or released, once. Until then it is in flight.
    """

    def taken(self, partition: int, count: int) -> None:
        """So many records were offered, and are in flight from now on."""
        ...

    def released(self, partition: int, why: Release, count: int) -> None:
        """So many records are in flight no more, and this lane wrote nothing for them."""
        ...

    def committed(self, partition: int, entries: Sequence[Processed]) -> None:
        """All of `entries` are committed."""
        ...

    def failed(self, partition: int, failure: str) -> None:
        """A transaction failed, for this class of reason, and is tried again."""
        ...

    def metadata_refused(self, partition: int) -> None:
        """Commit metadata could not be read; the records after the committed offset are processed again."""
        ...
