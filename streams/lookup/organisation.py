"""One organisation's lookups, apart from those of all others, so that none waits for another's service.

:class:`OrganisationLookup` answers at once with a value where it can (the circuit is open, the queue is full)
and otherwise with a future that is resolved no later than the organisation's deadline after the ask, whatever
the client does:

* The same person asked for twice is one *flight*; both get its outcome. It ends by the deadline of its first
  ask, so by that of every later one.
* At most ``concurrency`` exchanges are out at a time (a bulkhead). Up to ``queue`` more flights wait their
  turn, first come first served; the wait counts against the deadline.
* Where the service takes only so many requests a second, flights wait for their turn in the same queue. One
  whose turn would leave it less than ``FAIR_SHARE`` of the deadline is answered at once (``saturated``).
* The breaker is asked when a lookup starts. When it opens, whatever is queued is answered at once. The probe
  of a half-open breaker runs in the background: the action that set it off does not wait for it.

Everything here runs on one event loop, and its clock is that loop's. Deadlines come in the order of asking,
since each is as long: so one timer per organisation is enough, and a queued question costs no task.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Literal

from streams.lookup.breaker import Breaker, BreakerPolicy, State, Ticket
from streams.lookup.client import Client, Question, Reply, ServiceHealth
from streams.lookup.flight import Flight, Waiter
from streams.lookup.latency import FAST, Latency
from streams.lookup.observer import LookupObserver
from streams.lookup.rate import RateLimit, RatePolicy
from streams.messages.decode import Cause, LookupOutcome, Outcome

log = logging.getLogger(__name__)

FAIR_SHARE = 0.5
"""A time-out counts against the service only if it had this share of the deadline. A lookup that spent more
than the rest of it in our own queue proves nothing, or a rush would open a healthy service's breaker."""

CLOSING = 5.0
"""Seconds that cancelled lookups get to end at closing; only a faulty client needs more."""

CIRCUIT_OPEN = LookupOutcome(Outcome.ERROR, Cause.CIRCUIT_OPEN)
SATURATED = LookupOutcome(Outcome.ERROR, Cause.SATURATED)
TIMEOUT = LookupOutcome(Outcome.ERROR, Cause.TIMEOUT)
UNEXPECTED = LookupOutcome(Outcome.ERROR, Cause.UNEXPECTED)
_TIMED_OUT = Reply(TIMEOUT, ServiceHealth.FAILURE, None)


class OrganisationLookup:
    """One organisation's lookups. Made on a running event loop; ``client`` is its own, and closed with it.

    ``deadline`` in seconds, from the ask to the outcome.
    """

    def __init__(
        self,
        org_id: int | None,
        client: Client,
        *,
        deadline: float,
        concurrency: int,
        queue: int,
        policy: BreakerPolicy,
        observer: LookupObserver,
        rate: RatePolicy = RatePolicy(),  # noqa: B008  # it never changes
        random: Callable[[], float] = random.random,
    ) -> None:
        self.org_id = org_id
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._deadline = deadline
        self._concurrency = concurrency
        self._queue_limit = queue
        self._observer = observer
        self._rate = RateLimit(rate, self._loop.time)
        self._turn: asyncio.TimerHandle | None = None  # until the service may be sent the next request
        self._breaker = Breaker(policy, self._loop.time, random)
        self._reported = self._breaker.state
        self._flights: dict[Question, Flight] = {}  # those that can be joined
        self._queue: deque[Flight] = deque()  # may hold flights that have landed (withdrawn, expired)
        self._queued = 0  # of them, those that have not
        self._due: deque[Flight] = deque()  # all flights by deadline; the first has not landed
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Reply]] = set()
        self._waiting = 0
        self._latency = Latency()
        self._closed = False
        self._retired = False
        self._report(observer.state_changed, self._reported)  # a gauge that is there from the first ask on

    @property
    def state(self) -> State:
        """The breaker's state."""
        return self._breaker.state

    @property
    def probe_due_in(self) -> float | None:
        """As ``Breaker.probe_due_in``."""
        return self._breaker.probe_due_in

    @property
    def waiting(self) -> int:
        """Asks that have no outcome yet."""
        return self._waiting

    @property
    def queued(self) -> int:
        """Flights that wait for their turn."""
        return self._queued

    @property
    def out(self) -> int:
        """Exchanges under way, probes included."""
        return len(self._tasks)

    @property
    def is_fast(self) -> bool:
        """Whether this service answers so fast that waiting for it delays nobody."""
        if self._rate.wait(self._queued) > FAST:
            return False
        # Lookups start in the order of asking, so the first that has not landed has been out longest.
        if not self._due or (oldest := self._due[0]).task is None:
            return True
        now = self._loop.time()
        return self._latency.holds(now - oldest.started, now)

    def ask(self, question: Question) -> LookupOutcome | asyncio.Future[LookupOutcome]:
        """An outcome where there is nothing to wait for, else a future; cancelling it harms nobody else."""
        if self._closed:
            return UNEXPECTED
        if self._breaker.state is not State.CLOSED:
            self._perhaps_probe(question)
            return CIRCUIT_OPEN
        flight = self._flights.get(question)
        if flight is None:
            starts = len(self._tasks) < self._concurrency and not self._queued and self._rate.take()
            if not starts and not self._may_queue:
                return SATURATED
            flight = self._flights[question] = self._scheduled(question)
            if starts:
                self._start(flight, self._breaker.admit())
            else:
                self._queue.append(flight)
                self._queued += 1
                self._await_turn()
        waiter = Waiter(self._withdraw, flight, self._loop)
        flight.waiters.append(waiter)
        self._waiting += 1
        return waiter

    def unasked(self) -> LookupOutcome | Literal["ask"]:
        """What `ask` would return now, whatever the question, and do nothing else; "ask": only it knows."""
        answers = not self._closed and self._breaker.state is not State.CLOSED
        return CIRCUIT_OPEN if answers and not self._may_probe else "ask"

    def end_pause(self) -> None:
        """Let the next question probe the service, if the breaker is in its pause."""
        self._breaker.end_pause()

    def retire(self) -> None:
        """A successor may follow: from now on the state of this breaker is not reported any more."""
        if self._reported is not State.CLOSED:
            self._report(self._observer.state_changed, State.CLOSED)
        self._retired = True

    async def drain(self) -> None:
        """Wait until everything under way has its outcome (a deadline at most), then close."""
        while self._tasks or self._queued:
            if self._tasks:
                await asyncio.wait(set(self._tasks))
            else:  # only the service's rate holds up those that are queued
                await asyncio.sleep(self._rate.wait())
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel whatever is under way, futures included, and close the client. May be called again."""
        self._closed = True
        for timer in (self._timer, self._turn):
            if timer is not None:
                timer.cancel()
        self._timer = self._turn = None
        for flight in tuple(self._due):
            for waiter in tuple(flight.waiters):
                waiter.cancel()  # the last one takes the flight with it
            if not flight.landed:
                self._abandon(flight)
        self._queue.clear()
        if self._tasks:
            _, lingering = await asyncio.wait(set(self._tasks), timeout=CLOSING)
            if lingering:
                log.error("%d lookups linger", len(lingering), extra={"event": "lookups_linger"})
        await self._client.aclose()

    # -- A flight's life: scheduled, perhaps queued, started, landed once

    def _scheduled(self, question: Question) -> Flight:
        flight = Flight(question, self._loop.time() + self._deadline)
        self._due.append(flight)
        if self._timer is None:
            self._timer = self._loop.call_at(flight.deadline, self._on_deadline)
        return flight

    def _start(self, flight: Flight, ticket: Ticket | None) -> None:
        flight.ticket = ticket
        flight.started = now = self._loop.time()
        asking = self._client.ask(flight.question, within=flight.deadline - now)
        flight.task = task = self._loop.create_task(asking)
        self._tasks.add(task)
        # No coroutine of ours around it: a task cancelled before its first step runs nothing, no "finally".
        task.add_done_callback(lambda task: self._on_reply(flight, task))

    @property
    def _may_probe(self) -> bool:
        # Lookups from before the opening may still fill the bulkhead, or were the last for the moment.
        due = self._breaker.probe_due_in
        room = len(self._tasks) < self._concurrency and not self._rate.wait()
        return due is not None and due <= 0 and room

    def _perhaps_probe(self, question: Question) -> None:
        ticket = self._breaker.admit() if self._may_probe else None
        if ticket is not None:
            self._rate.take()
            self._start(self._scheduled(question), ticket)
            self._report_state()

    def _on_reply(self, flight: Flight, task: asyncio.Task[Reply]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            # By us, and the flight has landed, or by somebody within the client.
            reply = Reply(UNEXPECTED, ServiceHealth.NEUTRAL, None)
        elif (error := task.exception()) is not None:
            # The type only: the text of an exception may hold an address.
            extra = {"event": "lookup_client_raised", "organisation": self.org_id}
            log.error("The lookup client raised %s", type(error).__name__, extra=extra)
            reply = Reply(UNEXPECTED, ServiceHealth.FAILURE, None)
        else:
            reply = task.result()
        if not flight.landed:
            self._latency.answered(self._loop.time())
            self._land(flight, reply.outcome)
            self._settle(flight, reply)
        self._start_queued()

    def _on_deadline(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._due and (flight := self._due[0]).deadline <= now:
            if flight.task is None:
                self._land(flight, SATURATED)
            else:
                flight.task.cancel()
                self._land(flight, TIMEOUT)
                self._settle(flight, _TIMED_OUT)
        if self._due and self._timer is None:
            self._timer = self._loop.call_at(self._due[0].deadline, self._on_deadline)

    def _land(self, flight: Flight, outcome: LookupOutcome) -> None:
        """Deliver the outcome; a flight's places in the books are cleared."""
        for waiter in flight.waiters:
            waiter.set_result(outcome)  # a cancelled one has left the list
        self._waiting -= len(flight.waiters)
        flight.waiters.clear()
        self._strike(flight)

    def _abandon(self, flight: Flight) -> None:
        """Nobody waits for it any more (a probe's case only at closing): nothing is learned from it."""
        self._strike(flight)
        if flight.task is not None:
            flight.task.cancel()

    def _strike(self, flight: Flight) -> None:
        flight.landed = True
        if flight.task is None:
            self._queued -= 1
        if self._flights.get(flight.question) is flight:  # not so for a probe
            del self._flights[flight.question]
        due = self._due
        while due and due[0].landed:
            due.popleft()

    def _withdraw(self, waiter: Waiter, flight: Flight) -> None:
        flight.waiters.remove(waiter)
        self._waiting -= 1
        if not flight.waiters:
            self._abandon(flight)

    def _start_queued(self) -> None:
        now = self._loop.time()
        while self._queue and len(self._tasks) < self._concurrency and self._breaker.state is State.CLOSED:
            flight = self._queue[0]
            if not flight.landed and flight.deadline > now:
                if not self._rate.take():
                    self._await_turn()
                    return
                self._queued -= 1
                self._start(flight, self._breaker.admit())
            elif not flight.landed:  # the event loop is late, and so is the timer
                self._land(flight, SATURATED)
            self._queue.popleft()

    @property
    def _may_queue(self) -> bool:
        in_time = self._rate.wait(self._queued) <= self._deadline * (1.0 - FAIR_SHARE)
        return self._queued < self._queue_limit and in_time

    def _await_turn(self) -> None:
        """Start what is queued when the service may be sent the next request, if only that holds it up."""
        if self._turn is None and len(self._tasks) < self._concurrency:
            self._turn = self._loop.call_later(self._rate.wait(), self._on_turn)

    def _on_turn(self) -> None:
        self._turn = None
        self._start_queued()

    # -- What the breaker learns, and what follows from it

    def _settle(self, flight: Flight, reply: Reply) -> None:
        health = reply.health
        if reply.outcome == TIMEOUT and flight.deadline - flight.started < self._deadline * FAIR_SHARE:
            health = ServiceHealth.NEUTRAL
        if flight.ticket is not None:
            self._breaker.settle(flight.ticket, health, reply.retry_after)
        if self._breaker.state is State.OPEN:
            while self._queue:
                queued = self._queue.popleft()
                if not queued.landed:
                    self._land(queued, CIRCUIT_OPEN)
        took = self._loop.time() - flight.started
        self._latency.ended(took)
        self._report(self._observer.answered, reply.outcome, took)
        self._report_state()

    def _report_state(self) -> None:
        state = self._breaker.state
        if state is not self._reported and not self._retired:
            self._reported = state
            self._report(self._observer.state_changed, state)

    def _report(self, event: Callable[..., None], *what: object) -> None:
        try:
            event(self.org_id, *what)
        except Exception as error:
            log.error("An observer raised %s", type(error).__name__, extra={"event": "observer_raised"})
