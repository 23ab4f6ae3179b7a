"""The lanes that have one commit slot, and their common transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum, auto

from streams.delivery.transaction import (
    Fenced,
    Membership,
    NotBegun,
    NotTogether,
    Outgoing,
    Part,
    SharedPort,
    TransactionPort,
)


class Seat:
    """A lane's place in a slot: ``async with`` waits for it, and gives it back."""

    def __init__(
        self,
        ask: Callable[[Seat], None],
        transactions: TransactionPort,
        results: Callable[[], int],
        shared: SharedPort | None,
    ) -> None:
        """Of a lane; it does not wait yet.

        Args:
            ask: lets it wait; it has a slot when its future `taken` is done.
            transactions: of the lane.
            results: how many the lane has ready at the moment.
            shared: the same transactions, if they can be shared.
        """
        self._ask = ask
        self.transactions = transactions
        self.results = results
        self.membership: Membership | None = None if shared is None else shared.membership
        self.sharing = None if self.membership is None else shared
        self.taken: asyncio.Future[SharedCommit] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Seat:
        """Wait for a slot."""
        self._ask(self)
        try:
            await self.taken
        except BaseException:
            if not self.taken.cancelled():  # the lane is closed in the moment in which it has got one
                self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give the place back."""
        self._leave()

    def _leave(self) -> None:
        self.taken.result().leave(self)

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        """Write and commit as :meth:`TransactionPort.commit`, with the lanes that have the same slot.

        Raises:
            NotTogether: the common transaction failed, or nobody knows how it ended.
            RecordRefused, TransactionFailed, Denied: as `TransactionPort.commit`.
        """
        await self.taken.result().commit(self, records, offset, metadata)


class _End(Enum):
    """What came of a common transaction, for a lane that has a part in it."""

    COMMITTED = auto()
    NOT_BEGUN = auto()  # each commits alone
    FENCED = auto()
    UNKNOWN = auto()
    LEAD = auto()  # nothing yet: this lane is to commit


class SharedCommit:
    """Of the lanes that have one slot. The last one that has its part commits, and the others wait for it."""

    def __init__(self, seats: Sequence[Seat], give_back: Callable[[], None]) -> None:
        """Let these `seats` have a slot. `give_back` is called when all have left."""
        self._give_back = give_back
        self._seated = set(seats)
        self._missing = set(seats)  # neither has its part nor has left
        self._parts: list[Part] = []
        self._waiting: list[asyncio.Future[_End]] = []  # of the lanes with a part, but the one that commits
        self._fenced_by = ""  # the failure's class
        for seat in seats:
            seat.taken.set_result(self)

    async def commit(self, seat: Seat, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        """Commit a lane's part, with those of the others or alone; see :meth:`Seat.commit`."""
        sharing = seat.sharing
        if sharing is None or (len(self._seated) == 1 and not self._parts):
            await seat.transactions.commit(records, offset, metadata)
            return
        part = Part(sharing.topic_partition, records, offset, metadata)
        self._parts.append(part)
        self._missing.discard(seat)
        end = _End.UNKNOWN
        try:
            end = await self._turn() if self._missing else _End.LEAD
            if end is _End.LEAD:
                end = await self._lead(sharing)
        finally:
            if end is not _End.COMMITTED:
                part.withdrawn = True  # its lane finds out what is committed, and goes on from there
                if len(self._parts) > 1:
                    sharing.go_alone()
        if end is _End.NOT_BEGUN:
            await seat.transactions.commit(records, offset, metadata)
        elif end is _End.FENCED:
            raise Fenced(self._fenced_by)
        elif end is _End.UNKNOWN:
            raise NotTogether

    async def _turn(self) -> _End:
        """Wait until it is known what a lane with a part has to do."""
        known: asyncio.Future[_End] = asyncio.get_running_loop().create_future()
        self._waiting.append(known)
        try:
            return await known
        except asyncio.CancelledError:
            if known.done() and not known.cancelled() and known.result() is _End.LEAD:
                self._let_lead()  # this lane is closed in the moment in which it is to lead
            raise

    async def _lead(self, transactions: SharedPort) -> _End:
        end = _End.NOT_BEGUN
        try:
            parts = [part for part in self._parts if not part.withdrawn]
            if len(parts) > 1:
                end = _End.UNKNOWN
                await transactions.commit_together(parts)
                end = _End.COMMITTED
        except NotBegun:
            end = _End.NOT_BEGUN
        except Fenced as exc:
            end, self._fenced_by = _End.FENCED, exc.kind
            raise
        finally:  # also where this lane is closed
            for each in self._waiting:
                if not each.done():
                    each.set_result(end)
        return end

    def _let_lead(self) -> None:
        for each in self._waiting:
            if not each.done():
                each.set_result(_End.LEAD)
                return

    def leave(self, seat: Seat) -> None:
        """Take a lane's place back; the last one gives back the slot."""
        if seat in self._missing:
            self._missing.discard(seat)
            if not self._missing:
                self._let_lead()
        self._seated.discard(seat)
        if not self._seated:
            self._give_back()
