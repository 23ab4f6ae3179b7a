"""One question under way, and who waits for its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from streams.lookup.breaker import Ticket
from streams.lookup.client import Question, Reply
from streams.messages.decode import LookupOutcome


class Flight:
    """One question, queued or out, and who waits for it (nobody, for a probe)."""

    __slots__ = ("deadline", "landed", "question", "started", "task", "ticket", "waiters")

    def __init__(self, question: Question, deadline: float) -> None:
        """Queue `question`; `deadline` is a time of the event loop, in seconds."""
        self.question = question
        self.deadline = deadline
        self.waiters: list[Waiter] = []
        self.landed = False  # its outcome is decided and delivered, or nobody wants one any more
        self.started = 0.0
        self.ticket: Ticket | None = None
        self.task: asyncio.Task[Reply] | None = None  # None while queued


class Waiter(asyncio.Future[LookupOutcome]):
    """A future that says when the asker has lost interest; cheaper than a callback on each."""

    __slots__ = ("_flight", "_withdraw")

    def __init__(
        self,
        withdraw: Callable[[Waiter, Flight], None],
        flight: Flight,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Wait for `flight`; `withdraw` is told of a cancellation."""
        super().__init__(loop=loop)
        self._withdraw = withdraw
        self._flight = flight

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel; nobody else who waits for the same flight notices."""
        if cancelled := super().cancel(msg):
            self._withdraw(self, self._flight)
        return cancelled
