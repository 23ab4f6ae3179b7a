"""The lookups of all organisations: whose service is asked, and what a new organisations file changes."""

import asyncio
import random
import ssl
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Literal, Protocol

from streams.lookup.breaker import BreakerPolicy
from streams.lookup.client import Client, Endpoint, LookupClient, Question
from streams.lookup.observer import LookupObserver
from streams.lookup.organisation import UNEXPECTED, OrganisationLookup
from streams.lookup.rate import RatePolicy
from streams.messages.decode import LookupOutcome

MOST_ORGANISATIONS = 1000
"""From so many organisations on, those without an entry of their own share one: ids that somebody makes up by
the thousand must not take a connection pool and a metric label each."""


class LookupPolicy(Protocol):
    """How one organisation is asked (``streams.settings.organisations_file.Organisation``)."""

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
    def rate(self) -> RatePolicy:
        """How many requests a second its service takes."""

    @property
    def breaker(self) -> BreakerPolicy:
        """When to stop asking."""

    @property
    def ca_pem(self) -> str | None:
        """The certificate authorities to trust, as PEM text; ``None``: the system's."""


class LookupPolicies(Protocol):
    """The lookup policy of every organisation (``Organisations``)."""

    def of(self, org_id: int) -> LookupPolicy:
        """Return that organisation's policy, or the default."""


def open_client(policy: LookupPolicy) -> LookupClient:
    """A client with connections of its own for an organisation that has a lookup."""
    assert policy.lookup is not None
    trust = None if policy.ca_pem is None else ssl.create_default_context(cadata=policy.ca_pem)
    return LookupClient(policy.lookup, ssl_context=trust)


class Lookups:
    """Every organisation that has a lookup service, each opened at its first question.

    ``client_for`` makes the client of one organisation: each has its own connections, or one organisation's
    hanging service could use up another's.
    """

    def __init__(
        self,
        policies: LookupPolicies,
        observer: LookupObserver,
        *,
        client_for: Callable[[LookupPolicy], Client] = open_client,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._policies = policies
        self._client_for = client_for
        self._observer = observer
        self._random = random
        self._lookups: dict[int | None, tuple[OrganisationLookup, LookupPolicy]] = {}
        self._closed = False
        self._retiring: dict[asyncio.Task[None], OrganisationLookup] = {}

    def __iter__(self) -> Iterator[OrganisationLookup]:
        """Iterate over the organisations in use, in the order in which they were opened."""
        return iter([lookup for lookup, _ in self._lookups.values()])

    @property
    def waiting(self) -> int:
        """Asks that have no outcome yet, over all organisations."""
        return sum(lookup.waiting for lookup in self) + sum(
            lookup.waiting for lookup in self._retiring.values()
        )

    def is_fast(self, org_id: int) -> bool:
        """Whether waiting for this organisation's lookups is short; so it is where there are none."""
        lookup = self._lookup_of(org_id)
        return lookup is None or lookup.is_fast

    def ask(self, question: Question) -> LookupOutcome | asyncio.Future[LookupOutcome] | None:
        """As ``OrganisationLookup.ask``; ``None`` where this organisation has no lookup."""
        lookup = self._lookup_of(question.org_id)
        if lookup is None:
            return UNEXPECTED if self._closed else None
        return lookup.ask(question)

    def unasked(self, org_id: int) -> LookupOutcome | Literal["ask"] | None:
        """What `ask` would return now, whatever the question, and do nothing else; "ask": only it knows."""
        lookup = self._lookup_of(org_id)
        if lookup is None:
            return "ask" if self._closed else None
        return lookup.unasked()

    def end_pause(self, org_id: int | None = None) -> None:
        """Let the next question to this organisation's service probe it; None: to every service.

        Nothing happens to a service that is not in its breaker's pause, or was not asked yet.
        """
        sharing = self._lookups.get(org_id) or self._lookups.get(None)
        chosen = list(self) if org_id is None else [sharing[0]] if sharing else []
        for lookup in chosen:
            lookup.end_pause()

    def reload(self, policies: LookupPolicies) -> None:
        """Follow these policies from now on.

        An organisation that is asked as before stays, and so does what its breaker knows. Any other one ends
        what it has under way and is closed; the next question opens its successor.
        """
        self._policies = policies
        for org_id, (lookup, policy) in list(self._lookups.items()):
            successor = None if org_id is None else policies.of(org_id)
            if successor is not None and _asked_alike(policy, successor):
                self._lookups[org_id] = lookup, successor
            else:
                del self._lookups[org_id]
                lookup.retire()
                task = asyncio.get_running_loop().create_task(lookup.drain())
                self._retiring[task] = lookup
                task.add_done_callback(self._retiring.pop)

    async def aclose(self) -> None:
        """Close every organisation, the retiring ones too. What is asked later fails at once
        (``unexpected``).
        """
        self._closed = True
        lookups = [*self, *self._retiring.values()]
        retiring = tuple(self._retiring)
        self._lookups.clear()
        for task in retiring:
            task.cancel()
        await asyncio.gather(*(lookup.aclose() for lookup in lookups))
        await asyncio.gather(*retiring, return_exceptions=True)

    def _lookup_of(self, org_id: int) -> OrganisationLookup | None:
        entry = self._lookups.get(org_id)
        return self._open(org_id) if entry is None else entry[0]

    def _open(self, org_id: int) -> OrganisationLookup | None:
        policy = self._policies.of(org_id)
        if policy.lookup is None or self._closed:
            return None
        key: int | None = org_id
        if policy.org_id is None and len(self._lookups) >= MOST_ORGANISATIONS:
            key = None
            if key in self._lookups:
                return self._lookups[key][0]
        lookup = OrganisationLookup(
            key,
            self._client_for(policy),
            deadline=policy.lookup.deadline,
            concurrency=policy.concurrency,
            queue=policy.queue,
            policy=policy.breaker,
            rate=policy.rate,
            observer=self._observer,
            random=self._random,
        )
        self._lookups[key] = lookup, policy
        return lookup


def _asked_alike(one: LookupPolicy, other: LookupPolicy) -> bool:
    """Whether two policies ask in the same way: how long answers are kept, and the label, do not matter."""
    alike = attrgetter("lookup", "ca_pem", "concurrency", "queue", "rate", "breaker")
    return bool(alike(one) == alike(other))
