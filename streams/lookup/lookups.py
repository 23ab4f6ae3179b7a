"""The desks of all organisations: which one answers a question, and how they change when the plans do."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Protocol

from streams.lookup.breaker import BreakerPolicy
from streams.lookup.client import Endpoint, LookupClient, Question
from streams.lookup.organisation import UNEXPECTED, Client, Desk, Observer
from streams.messages.decode import LookupOutcome

MOST_DESKS = 1000
"""From so many desks on, organisations without an entry of their own share one: ids that somebody makes up by
the thousand must not take a connection pool and a metric label each."""


class LookupPlan(Protocol):
    """What a desk needs to know of an organisation (``streams.settings.organisations_file.Organisation``)."""

    @property
    def org_id(self) -> int | None:
        """``None`` for the default, of organisations without an entry of their own."""

    @property
    def lookup(self) -> Endpoint | None:
        """``None``: nobody to ask."""

    @property
    def concurrency(self) -> int:
        """Exchanges at a time."""

    @property
    def queue(self) -> int:
        """Flights that may wait for their turn."""

    @property
    def breaker(self) -> BreakerPolicy:
        """When to stop asking."""

    @property
    def ca_pem(self) -> str | None:
        """The certificate authorities to trust, as PEM text; ``None``: the system's."""


class LookupPlans(Protocol):
    """The plan of every organisation; ``streams.settings.organisations_file.Organisations`` is one."""

    def of(self, org_id: int) -> LookupPlan:
        """That organisation's plan, or the default."""


def open_client(plan: LookupPlan) -> LookupClient:
    """A client with connections of its own for an organisation that has a lookup."""
    assert plan.lookup is not None
    trust = None if plan.ca_pem is None else ssl.create_default_context(cadata=plan.ca_pem)
    return LookupClient(plan.lookup, ssl_context=trust)


class Desks:
    """The desk of every organisation that has a lookup, opened at its first question.

    ``client_for`` makes the client of one desk: each has its own connections, or one organisation's hanging
    service could use up another's.
    """

    def __init__(
        self,
        plans: LookupPlans,
        observer: Observer,
        *,
        client_for: Callable[[LookupPlan], Client] = open_client,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._plans = plans
        self._client_for = client_for
        self._observer = observer
        self._dice = dice
        self._desks: dict[int | None, tuple[Desk, LookupPlan]] = {}
        self._closed = False
        self._retiring: dict[asyncio.Task[None], Desk] = {}

    def __iter__(self) -> Iterator[Desk]:
        """The desks in use, in the order in which they were opened."""
        return iter([desk for desk, _ in self._desks.values()])

    @property
    def pending(self) -> int:
        """Asks that have no outcome yet, over all organisations."""
        return sum(desk.pending for desk in self) + sum(desk.pending for desk in self._retiring.values())

    def brisk(self, org_id: int) -> bool:
        """Whether waiting for this organisation's lookups is short; so it is where there are none."""
        desk = self._desk_of(org_id)
        return desk is None or desk.brisk

    def ask(self, question: Question) -> LookupOutcome | asyncio.Future[LookupOutcome] | None:
        """As ``Desk.ask``; ``None`` where this organisation has no lookup."""
        desk = self._desk_of(question.org_id)
        if desk is None:
            return UNEXPECTED if self._closed else None
        return desk.ask(question)

    def reload(self, plans: LookupPlans) -> None:
        """Go by these plans from now on.

        A desk whose organisation is asked as before stays, and so does what its breaker knows. Any other ends
        what it has under way and is closed; the next question opens its successor.
        """
        self._plans = plans
        for org_id, (desk, plan) in list(self._desks.items()):
            successor = None if org_id is None else plans.of(org_id)
            if successor is not None and _asked_alike(plan, successor):
                self._desks[org_id] = desk, successor
            else:
                del self._desks[org_id]
                desk.retire()
                task = asyncio.get_running_loop().create_task(desk.drain())
                self._retiring[task] = desk
                task.add_done_callback(self._retiring.pop)

    async def aclose(self) -> None:
        """Close every desk, the retiring ones too. What is asked later is not answered by anybody."""
        self._closed = True
        desks = [*self, *self._retiring.values()]
        retiring = tuple(self._retiring)
        self._desks.clear()
        for task in retiring:
            task.cancel()
        await asyncio.gather(*(desk.aclose() for desk in desks))
        await asyncio.gather(*retiring, return_exceptions=True)

    def _desk_of(self, org_id: int) -> Desk | None:
        entry = self._desks.get(org_id)
        return self._open(org_id) if entry is None else entry[0]

    def _open(self, org_id: int) -> Desk | None:
        plan = self._plans.of(org_id)
        if plan.lookup is None or self._closed:
            return None
        place: int | None = org_id
        if plan.org_id is None and len(self._desks) >= MOST_DESKS:
            place = None
            if place in self._desks:
                return self._desks[place][0]
        desk = Desk(
            place,
            self._client_for(plan),
            deadline=plan.lookup.deadline,
            concurrency=plan.concurrency,
            queue=plan.queue,
            policy=plan.breaker,
            observer=self._observer,
            dice=self._dice,
        )
        self._desks[place] = desk, plan
        return desk


def _asked_alike(one: LookupPlan, other: LookupPlan) -> bool:
    """Whether the same desk will do: how long answers are kept, or the label, does not concern it."""
    alike = attrgetter("lookup", "ca_pem", "concurrency", "queue", "breaker")
    return bool(alike(one) == alike(other))
