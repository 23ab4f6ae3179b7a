"""How lookup-lc behaves, a lookup service that stands before a CRM, and what the signer gets.

It says ``{}`` of everybody whom its CRM does not know, and also when it does not understand its CRM. It tries
a CRM that fails three times, for three seconds in all, and then says 500. While its CRM wants a pause (429)
it says nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest

from streams.actions.decision import decide
from streams.lookup.client import EmptyMeans, Endpoint, LookupClient, Question, Reply, ServiceHealth
from streams.lookup.organisation import OrganisationLookup
from streams.lookup.rate import RatePolicy
from streams.messages.decode import Cause, LookupOutcome, Outcome, Variant
from streams.sandbox.lookup_service import (
    Answer,
    LookupService,
    failing,
    failing_after,
    hanging,
    not_subscribed,
    subscribed,
)
from tests.lookup.asking import AMPLE, DEADLINE, QUESTION
from tests.lookup.test_organisation import EXISTING, POLICY, Tally, now, person, waits

ONE, TWO = Variant.ONE_BUTTON, Variant.TWO_BUTTON
ERROR_IF_EMPTY = {"empty_means": EmptyMeans.ERROR}
#: Seconds for which it tries its CRM again.
RETRIES = 0.05


class Row(NamedTuple):
    """What its CRM does, what it answers then, how the organisation is set, and what comes of it."""

    its_crm: str
    answer: Answer
    settings: dict[str, Any]
    letter: Variant
    outcome: Outcome
    cause: Cause | None = None
    health: ServiceHealth = ServiceHealth.FAILURE


ROWS = [
    Row("knows a subscriber", subscribed, {}, ONE, Outcome.EXISTING, None, ServiceHealth.HEALTHY),
    Row("knows a subscriber", subscribed, ERROR_IF_EMPTY, ONE, Outcome.EXISTING, None, ServiceHealth.HEALTHY),
    Row("knows nobody", not_subscribed, {}, TWO, Outcome.NON_EXISTING, None, ServiceHealth.HEALTHY),
    # By default garbage is taken for "not subscribed", and is kept.
    Row("sends garbage", not_subscribed, {}, TWO, Outcome.NON_EXISTING, None, ServiceHealth.HEALTHY),
    # Set so, it is a failed lookup, never kept; and no failure of the service, which knows few people.
    Row(
        "sends garbage",
        not_subscribed,
        ERROR_IF_EMPTY,
        TWO,
        Outcome.ERROR,
        Cause.NO_DATA,
        ServiceHealth.NEUTRAL,
    ),
    Row("refuses connections", failing, {}, TWO, Outcome.ERROR, Cause.HTTP_STATUS),
    # The deadline decides which cause is counted when the CRM fails: one beyond the retries names it.
    Row(
        "fails",
        failing_after(RETRIES),
        {"deadline": AMPLE},
        TWO,
        Outcome.ERROR,
        Cause.HTTP_STATUS,
    ),
    Row("fails", failing_after(2 * AMPLE), {"deadline": DEADLINE}, TWO, Outcome.ERROR, Cause.TIMEOUT),
    Row("wants a pause", hanging, {"deadline": DEADLINE}, TWO, Outcome.ERROR, Cause.TIMEOUT),
]


@pytest.fixture
def service() -> Iterator[LookupService]:
    with LookupService() as running:
        yield running


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.its_crm.replace(" ", "_"))
async def test_whatever_its_crm_does_the_signer_gets_the_right_letter(
    row: Row, service: LookupService
) -> None:
    """One button for a subscriber that it knows, two in every other case; only what it knows is an answer."""
    service.answer = row.answer
    endpoint = Endpoint(service.url, **{"deadline": AMPLE, **row.settings})
    async with aclosing(LookupClient(endpoint)) as client:
        reply = await client.ask(QUESTION)
    assert (reply.outcome.outcome, reply.outcome.cause, reply.health) == (row.outcome, row.cause, row.health)
    assert decide(None, reply.outcome)[0] is row.letter


class BehindTenASecond:
    """The service before a CRM that takes ten requests a second: more get no answer for half a minute."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def ask(self, question: Question, *, within: float | None = None) -> Reply:
        self.times = [time for time in self.times if time > now() - 1.0 + 1e-6]
        self.times.append(now())
        await asyncio.sleep(0.1 if len(self.times) <= 10 else 30.0)
        return Reply(EXISTING, ServiceHealth.HEALTHY, None)

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    ("rate", "right", "wrong"),
    [
        # Ten at once are answered; all the others hang, and open the breaker.
        (RatePolicy(), 10, {Cause.TIMEOUT, Cause.CIRCUIT_OPEN, Cause.SATURATED}),
        # One at once, and ten a second for half of the deadline of ten seconds.
        (RatePolicy(10.0), 51, {Cause.SATURATED}),
    ],
    ids=["without_a_rate", "with_its_rate"],
)
@pytest.mark.usefixtures("virtual_time")
async def test_three_hundred_at_once_before_a_crm_of_ten_a_second(
    rate: RatePolicy, right: int, wrong: set[Cause]
) -> None:
    """With the CRM's rate set it is asked ten times a second, and all who are asked about get an answer."""
    lookups = OrganisationLookup(
        310,
        BehindTenASecond(),
        deadline=10.0,
        concurrency=64,
        queue=4_096,
        policy=POLICY,
        observer=Tally(),
        rate=rate,
    )
    asked = [lookups.ask(person(number)) for number in range(300)]
    outcomes: list[LookupOutcome] = [
        each if isinstance(each, LookupOutcome) else await waits(each) for each in asked
    ]
    assert outcomes.count(EXISTING) == right
    assert {outcome.cause for outcome in outcomes if outcome != EXISTING} <= wrong
    await lookups.aclose()
