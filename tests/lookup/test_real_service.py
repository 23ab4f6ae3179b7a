"""An organisation's lookups over real sockets, in real time."""

import asyncio

from streams.lookup.breaker import BreakerPolicy, State
from streams.lookup.client import Endpoint, LookupClient
from streams.lookup.organisation import CIRCUIT_OPEN, SATURATED, TIMEOUT, OrganisationLookup
from tests.lookup.faulty_server import Call, FaultyServer, hang, healthy, response, says
from tests.lookup.leftovers import until
from tests.lookup.test_organisation import DEADLINE, DOWN, EXISTING, Tally, now, person, waits


def asking(server: FaultyServer, policy: BreakerPolicy, deadline: float = DEADLINE) -> OrganisationLookup:
    client = LookupClient(Endpoint(server.url, deadline=deadline))
    return OrganisationLookup(
        310, client, deadline=deadline, concurrency=8, queue=100, policy=policy, observer=Tally()
    )


async def test_a_real_service_that_fails_and_recovers_sees_one_probe() -> None:
    """It fails, the circuit opens, one of two hundred asks probes, and it closes again."""

    async def slowly(call: Call) -> None:
        await asyncio.sleep(0.3)
        await healthy()(call)

    async with FaultyServer(says(response(status=b"500 x"), keep=True)).listening() as server:
        lookups = asking(server, BreakerPolicy(minimum_calls=4, first_pause=0.1, jitter=0.0))
        asked = [waits(lookups.ask(person(number))) for number in range(4)]
        assert await asyncio.gather(*asked) == [DOWN] * 4
        assert lookups.state is State.OPEN
        server.behaviour = slowly
        server.requests.clear()
        await asyncio.sleep(0.11)  # the pause
        assert [lookups.ask(person(number)) for number in range(200)] == [CIRCUIT_OPEN] * 200
        assert lookups.state is State.HALF_OPEN
        await until(lambda: lookups.state is State.CLOSED)
        assert (lookups.state, len(server.requests)) == (State.CLOSED, 1)
        assert await waits(lookups.ask(person(7))) == EXISTING
        await lookups.aclose()


async def test_a_real_service_that_hangs_costs_no_more_than_the_deadline() -> None:
    """Two buttons for everybody shortly after the deadline, and then at once."""
    async with FaultyServer(hang).listening() as server:
        lookups = asking(server, BreakerPolicy(minimum_calls=4), deadline=0.3)
        start = now()
        outcomes = await asyncio.gather(*(waits(lookups.ask(person(number))) for number in range(30)))
        assert now() - start < 0.3 + 0.5  # the goal is 0.1; a busy test machine gets more
        assert set(outcomes) <= {TIMEOUT, SATURATED, CIRCUIT_OPEN}
        assert lookups.ask(person(1)) == CIRCUIT_OPEN
        await lookups.aclose()
