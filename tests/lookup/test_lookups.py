import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from streams.lookup import lookups as lookups_module
from streams.lookup.breaker import BreakerPolicy, State
from streams.lookup.client import Endpoint, LookupClient, Question
from streams.lookup.lookups import LookupPolicy, Lookups
from streams.lookup.organisation import CIRCUIT_OPEN, CLOSING, TIMEOUT, UNEXPECTED
from streams.lookup.rate import RatePolicy
from streams.sandbox.ports import free_port
from streams.settings.organisations_file import Organisation, Organisations
from tests.lookup.test_organisation import EXISTING, FAILURE, Does, Service, Tally, person, waits
from tests.timing import until

POLICY = BreakerPolicy(minimum_calls=4, jitter=0.0)


def asked_at(url: str, **values: object) -> Organisation:
    return Organisation(lookup=Endpoint(url=url, authorization=None), breaker=POLICY, **values)  # type: ignore[arg-type]  # as given


class Crms:
    """The services of a test by their URL, and how often a client was made for each."""

    def __init__(self, **services: Service) -> None:
        self.services = services
        self.opened: list[str] = []

    def client_for(self, policy: LookupPolicy) -> Service:
        assert policy.lookup is not None
        self.opened.append(policy.lookup.url)
        return self.services[policy.lookup.url]


def policies(default: Organisation | None = None, **entries: Organisation) -> Organisations:
    by_id = {int(key.removeprefix("org")): replace(policy, org_id=1) for key, policy in entries.items()}
    return Organisations(default or Organisation(), by_id)


def of(org_id: int, number: int = 1) -> Question:
    return person(number)._replace(org_id=org_id)


Opens = Callable[..., Lookups]


@pytest.fixture
async def opened(virtual_time: None) -> AsyncIterator[Opens]:
    """Makes lookups, which are closed in the end."""
    made: list[Lookups] = []

    def opened(organisations: Organisations, client_for: Any, observer: Any = None) -> Lookups:
        made.append(Lookups(organisations, observer or Tally(), client_for=client_for))
        return made[-1]

    yield opened
    for lookups in made:
        await lookups.aclose()


async def test_an_organisation_without_a_lookup_has_no_answer(opened: Opens) -> None:
    """None, neither an outcome nor a future, and nothing is opened for it."""
    lookups = opened(policies(), Crms().client_for)
    assert lookups.ask(of(310)) is None
    assert lookups.unasked(310) is None
    assert lookups.is_fast(310)
    assert list(lookups) == []


async def test_one_organisations_dead_service_does_not_touch_another(opened: Opens) -> None:
    """While one hangs with everything it may have out, and then is given up on, the other answers as ever."""
    crms = Crms(dead=Service(Does(None)), well=Service(Does()))
    lookups = opened(
        policies(org310=asked_at("dead", concurrency=4), org311=asked_at("well")), crms.client_for
    )
    hanging = [waits(lookups.ask(of(310, number))) for number in range(20)]
    await asyncio.sleep(0.1)
    assert await waits(lookups.ask(of(311))) == EXISTING
    assert (lookups.is_fast(310), lookups.is_fast(311), lookups.waiting) == (False, True, 20)
    assert TIMEOUT in await asyncio.gather(*hanging)
    assert lookups.ask(of(310)) == CIRCUIT_OPEN
    assert await waits(lookups.ask(of(311))) == EXISTING
    assert [(lookup.org_id, lookup.state) for lookup in lookups] == [(310, State.OPEN), (311, State.CLOSED)]


async def test_organisations_of_the_default_have_desks_of_their_own(opened: Opens) -> None:
    """The default's service is asked for each, and one's open circuit leaves the other's alone."""
    failing, well = Service(Does(FAILURE)), Service(Does())
    clients = iter([failing, well])
    lookups = opened(policies(asked_at("shared")), lambda _: next(clients))
    for number in range(4):
        await waits(lookups.ask(of(1, number)))
    assert lookups.ask(of(1)) == CIRCUIT_OPEN
    assert await waits(lookups.ask(of(2))) == EXISTING


async def test_a_pause_is_ended_for_one_organisation_or_for_every_one(opened: Opens) -> None:
    """The next question to it is a probe; one that was never asked, or has no lookup, is no error."""
    crms = Crms(one=Service(Does(FAILURE)), other=Service(Does(FAILURE)))
    lookups = opened(policies(org310=asked_at("one"), org311=asked_at("other")), crms.client_for)
    for org_id in (310, 311):
        for number in range(4):
            await waits(lookups.ask(of(org_id, number)))
    asked = [len(service.asked) for service in crms.services.values()]
    lookups.end_pause(310)
    lookups.end_pause(999)
    for org_id in (310, 311):
        assert lookups.ask(of(org_id, 5)) == CIRCUIT_OPEN
    await until(lambda: len(crms.services["one"].asked) > asked[0])
    assert [len(service.asked) for service in crms.services.values()] == [asked[0] + 1, asked[1]]
    lookups.end_pause()
    assert lookups.ask(of(311, 6)) == CIRCUIT_OPEN
    await until(lambda: len(crms.services["other"].asked) > asked[1])
    assert len(crms.services["other"].asked) == asked[1] + 1


async def test_made_up_organisations_share_one_in_the_end(opened: Opens) -> None:
    """Beyond the most organisations, ids without an entry share one; an entry still gets its own."""
    crms = Crms(shared=Service(), own=Service())
    lookups = opened(policies(asked_at("shared"), org310=asked_at("own")), crms.client_for)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookups_module, "MOST_ORGANISATIONS", 3)
        for org_id in range(1, 10):
            assert await waits(lookups.ask(of(org_id))) == EXISTING
        assert await waits(lookups.ask(of(310))) == EXISTING
    assert [lookup.org_id for lookup in lookups] == [1, 2, 3, None, 310]


async def test_reloading_keeps_what_has_not_changed(opened: Opens) -> None:
    """Same service, same numbers: its open circuit stays, whatever the name and lifetimes."""
    crms = Crms(dead=Service(Does(FAILURE)))
    lookups = opened(policies(org310=asked_at("dead")), crms.client_for)
    for number in range(4):
        await waits(lookups.ask(of(310, number)))
    before = list(lookups)
    lookups.reload(policies(org310=asked_at("dead", name="New name", subscribed_lifetime=7.0)))
    assert list(lookups) == before
    assert lookups.ask(of(310)) == CIRCUIT_OPEN
    assert crms.opened == ["dead"]


@pytest.mark.parametrize(
    "changed",
    [
        asked_at("new"),
        asked_at("old", concurrency=1),
        asked_at("old", queue=1),
        asked_at("old", rate=RatePolicy(10.0)),
        asked_at("old", ca_pem="renewed"),
        replace(asked_at("old"), breaker=BreakerPolicy(minimum_calls=5)),
    ],
    ids=["url", "concurrency", "queue", "rate", "certificates", "breaker"],
)
async def test_reloading_replaces_what_has_changed(opened: Opens, changed: Organisation) -> None:
    """What is under way ends with its old service, which is then closed; new questions go to the new one."""
    services = {"old": iter([Service(Does(after=0.5)), Service()]), "new": iter([Service()])}
    made: list[Service] = []

    def client_for(policy: LookupPolicy) -> Service:
        assert policy.lookup is not None
        made.append(next(services[policy.lookup.url]))
        return made[-1]

    lookups = opened(policies(org310=asked_at("old")), client_for)
    before = waits(lookups.ask(of(310)))
    lookups.reload(policies(org310=changed))
    after = waits(lookups.ask(of(310)))
    assert lookups.waiting == 2
    assert await after == EXISTING
    assert not before.done()
    assert await before == EXISTING
    await asyncio.sleep(0.01)
    assert [service.closed for service in made] == [True, False]
    await lookups.aclose()
    assert [len(service.asked) for service in made] == [1, 1]


async def test_a_removed_organisation_is_asked_no_more(opened: Opens) -> None:
    """It has no lookup any more, its client is closed, and its state is told as closed a last time."""
    crms = Crms(dead=Service(*[Does(FAILURE)] * 4))
    tally = Tally()
    lookups = opened(policies(org310=asked_at("dead")), crms.client_for, tally)
    for number in range(4):
        await waits(lookups.ask(of(310, number)))
    lookups.reload(policies())
    assert lookups.ask(of(310)) is None
    assert list(lookups) == []
    assert tally.states == [State.CLOSED, State.OPEN, State.CLOSED]
    await asyncio.sleep(0.01)
    assert crms.services["dead"].closed


async def test_a_retired_desk_says_no_more_about_its_breaker(opened: Opens) -> None:
    """What its last lookups do to it must not look like its successor's state; their outcomes are told."""
    crms = Crms(old=Service(Does(FAILURE, after=0.3)), new=Service())
    tally = Tally()
    lookups = opened(policies(org310=asked_at("old")), crms.client_for, tally)
    for number in range(4):
        waits(lookups.ask(of(310, number)))
    lookups.reload(policies(org310=asked_at("new")))
    await waits(lookups.ask(of(310)))
    await asyncio.sleep(0.5)
    assert tally.states == [State.CLOSED, State.CLOSED]
    assert len(tally.answers) == 5


async def test_closing_ends_retiring_desks_too(opened: Opens) -> None:
    """All futures are cancelled, all clients closed, and nothing is opened any more."""
    crms = Crms(old=Service(Does(None)), new=Service(Does(None)))
    lookups = opened(policies(org310=asked_at("old")), crms.client_for)
    asked = [waits(lookups.ask(of(310)))]
    lookups.reload(policies(org310=asked_at("new")))
    asked.append(waits(lookups.ask(of(310))))
    await asyncio.sleep(0.1)
    await lookups.aclose()
    assert all(future.cancelled() for future in asked)
    assert all(service.closed for service in crms.services.values())
    assert lookups.ask(of(310)) == UNEXPECTED
    assert list(lookups) == []


async def test_closing_at_once_after_a_reload_closes_every_client_once_or_more(opened: Opens) -> None:
    """A retiring organisation whose draining has not begun is closed as well."""
    crms = Crms(old=Service(Does(None)))
    lookups = opened(policies(org310=asked_at("old")), crms.client_for)
    asked = waits(lookups.ask(of(310)))
    lookups.reload(policies())
    await lookups.aclose()
    assert asked.cancelled()
    assert crms.services["old"].closed


async def test_closing_does_not_wait_for_ever(opened: Opens) -> None:
    """A retiring organisation whose client ignores a cancellation delays closing by seconds, no more."""
    crms = Crms(old=Service(Does(None, stubborn=60.0)))
    lookups = opened(policies(org310=asked_at("old")), crms.client_for)
    waits(lookups.ask(of(310)))
    await asyncio.sleep(0.1)
    lookups.reload(policies())
    await asyncio.sleep(0.1)
    async with asyncio.timeout(CLOSING + 0.1):
        await lookups.aclose()
    assert crms.services["old"].closed
    assert len(asyncio.all_tasks()) == 2  # this one and the client's
    await asyncio.sleep(60.0)  # it does end, and leaves no task


async def test_by_default_each_desk_has_a_real_client_of_its_own() -> None:
    """A refused connection over real sockets is an outcome like any other."""
    lookups = Lookups(policies(asked_at(f"http://127.0.0.1:{free_port()}/")), Tally())
    outcome = await waits(lookups.ask(of(310)))
    assert outcome.cause == "connect"
    assert isinstance(next(iter(lookups))._client, LookupClient)
    await lookups.aclose()
