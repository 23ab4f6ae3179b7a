"""How many transactions there are at once, and which lanes have one together.

A transaction costs some 2 ms of CPU in the worker and as much in the broker, however little it holds. Lanes
that each commit as fast as they can would spend a core on that at 500 transactions a second, and with many
partitions each of them would hold next to nothing. So a lane waits for a slot before it takes what is ready.
Lanes that wait at the same moment, and together have little, get one slot and commit in one transaction: it
costs hardly more than that of one of them. While it is under way, others that have little wait for its end.
Each with a transaction of its own would load a broker that is slow already, and so make it slower. The more
lanes have something, the longer each gathers. There is no interval to set, and the number of transactions a
second does not grow with the number of partitions.

Whose transactional.id the common transaction has does not matter: see
:meth:`streams.delivery.transaction.SharedPort.commit_together`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from streams.delivery.shared_commit import Seat, SharedCommit
from streams.delivery.transaction import Membership, SharedPort, TransactionPort

#: Lanes in one transaction: more would not fit, with all their commit metadata, into one batch of the group's
#: offsets.
MOST_LANES = 64


class CommitSlots:
    """Hands out slots, first come first served."""

    def __init__(
        self,
        at_once: int = 4,
        rest: float = 0.004,
        longest: float = 0.1,
        gather: int = 1,
        together: int = 1_000,
    ) -> None:
        """Make the slots.

        Args:
            at_once: slots, and so transactions at once.
            rest: seconds before a slot that was given back is handed out again: the event loop's time for all
                else.
            longest: seconds after which a slot is handed on although its transaction is still under way: a
                broker that does not answer delays those that have a part in it, and no others.
            gather: turns of the event loop without a further lane, for which a lane that may share waits for
                others though a slot is free; 0: it does not wait. What a fetch brings of some partitions is
                handed over together, so that their lanes wake in the same turn. Turns and not seconds: they
                become longer when the machine is busy, and as short as possible when it is not.
            together: results that a transaction of several lanes has, at most. Lanes that have so many when
                one of them asks do not wait for the end of another one, and its rest.
        """
        self._at_once = at_once
        self._rest = rest
        self._longest = longest
        self._taken: list[_Slot] = []  # may have some that are free again, until somebody looks
        self._look_again: asyncio.TimerHandle | None = None  # while lanes wait for a slot, or for each other
        self._gather = gather
        self._turns: int | None = None  # since the last lane asked; None: no lane waits for others
        self._together = together
        self._queue: deque[Seat] = deque()

    def slot(
        self, transactions: TransactionPort, results: Callable[[], int], shared: SharedPort | None = None
    ) -> Seat:
        """Return what waits for a slot, alone or with other lanes, and gives it back: ``async with``.

        Args:
            transactions: of the lane.
            results: how many the lane has ready at the moment.
            shared: the same transactions, if they can be shared.
        """
        return Seat(self._ask, transactions, results, shared)

    def _ask(self, seat: Seat) -> None:
        self._queue.append(seat)
        if not (self._gather and seat.sharing and seat.results() < self._together):
            self._hand_out()
        elif self._turns is None:
            self._turns = 0
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._turns = 0

    def _turn(self) -> None:
        assert self._turns is not None
        self._turns += 1
        if self._turns < self._gather:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._turns = None
            self._hand_out()

    def _hand_out(self) -> None:
        now = asyncio.get_running_loop().time()
        self._taken = [slot for slot in self._taken if slot.free_at > now]
        while len(self._taken) < self._at_once and (first := self._next()) is not None:
            seats = [first, *self._companions(first)] if first.sharing else [first]
            for earlier in self._taken:
                if earlier.gathers == first.membership:  # its lanes wait for the last one
                    earlier.gathers = None
            self._taken.append(slot := _Slot(now + self._longest, first.membership))
            SharedCommit(seats, partial(self._give_back, slot))
        if self._queue:
            self._await_free()

    def _next(self) -> Seat | None:
        """Take the first lane out of the queue that has to wait for nothing but a slot."""
        queue = self._queue
        while queue and queue[0].taken.cancelled():  # its lane was closed while it waited
            queue.popleft()
        waiting = self._waiting()
        for seat in queue:
            if not (seat.membership in waiting or seat.taken.cancelled()):
                queue.remove(seat)
                return seat
        return None

    def _waiting(self) -> list[Membership]:
        """The memberships whose lanes wait for the end of their last common transaction, and for the next."""
        return [
            membership
            for membership in [slot.gathers for slot in self._taken]
            if membership is not None
            and sum(seat.results() for seat in self._queue if seat.membership == membership) < self._together
        ]

    def _await_free(self) -> None:
        """Look again when what is waited for is free. Only while a lane waits: a timer costs a turn."""
        if self._look_again is not None:
            self._look_again.cancel()
        full = len(self._taken) == self._at_once
        at = min(slot.free_at for slot in self._taken if full or slot.gathers is not None)
        self._look_again = asyncio.get_running_loop().call_at(at, self._hand_out)

    def _give_back(self, slot: _Slot) -> None:
        slot.free_at = min(slot.free_at, asyncio.get_running_loop().time() + self._rest)
        if self._queue and self._turns is None:
            self._await_free()

    def _companions(self, first: Seat) -> list[Seat]:
        """Take those out of the queue that share a transaction with the `first` lane."""
        found: list[Seat] = []
        results = first.results()
        for seat in list(self._queue):
            if len(found) + 1 == MOST_LANES:
                break
            if seat.membership != first.membership or seat.taken.cancelled():
                continue
            if results + (more := seat.results()) <= self._together:
                self._queue.remove(seat)
                found.append(seat)
                results += more
        return found


class _Slot:
    """One slot that was handed out."""

    __slots__ = ("free_at", "gathers")

    def __init__(self, free_at: float, gathers: Membership | None) -> None:
        self.free_at = free_at  # on the event loop's clock; earlier when it is given back
        self.gathers = gathers  # the membership whose lanes wait until then; None: no lane does
