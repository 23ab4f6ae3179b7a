"""What a lane and its judge say to each other, and what the lane tells an observer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from streams.delivery.ledger import Outgoing

#: A consumed record, as aiokafka hands it over.
Record = Any
#: What is counted once a verdict is lasting, e.g. ("email", "two_button", "no_lookup").
Tally = tuple[str, ...]


class Verdict(NamedTuple):
    """What becomes of one record: something to write, or nothing, and how it is counted."""

    outgoing: Outgoing | None
    tally: Tally


class Pending(NamedTuple):
    """A verdict that waits: `conclude` makes it from `answer` when that is done, however it ended."""

    answer: asyncio.Future[Any]
    conclude: Callable[[asyncio.Future[Any]], Verdict]


class Judge(Protocol):
    """Decides what becomes of a record."""

    @property
    def halted(self) -> str | None:
        """Why nothing is judged any more until a person has decided, or None."""
        ...

    def judge(self, record: Record) -> Verdict | Pending | None:
        """Decide, start to decide, or return None: not now, ask again when something has settled."""
        ...

    def refuse(self, record: Record, verdict: Verdict) -> Verdict:
        """Return what to write instead of a `verdict` that its topic has no room for."""
        ...

    def fault(self, record: Record, exc: BaseException) -> Verdict:
        """Return what becomes of a record on which our own code failed."""
        ...


class Entry(NamedTuple):
    """A judged record on its way into a transaction."""

    record: Record
    verdict: Verdict


class Observer(Protocol):
    """Is told what a lane does."""

    def committed(self, partition: int, entries: Sequence[Entry]) -> None:
        """Every one of `entries` is lasting now."""
        ...

    def failed(self, partition: int, failure: str) -> None:
        """A transaction failed, for this class of reason, and is tried again."""
        ...

    def metadata_refused(self, partition: int) -> None:
        """Commit metadata could not be read; the records after the committed offset are done again."""
        ...
