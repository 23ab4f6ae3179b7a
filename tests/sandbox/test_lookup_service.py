"""The service behaves as it is told, as seen by the worker's own client over a real socket."""

import asyncio
import socket
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, suppress

import pytest

from streams.lookup.client import Endpoint, LookupClient, Question
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.sandbox.lookup_service import SLOW, Behaviour, LookupService, subscribed


@pytest.fixture
def service() -> Iterator[LookupService]:
    with LookupService() as lookup:
        yield lookup


async def ask(service: LookupService, count: int = 1, deadline: float = 2.0) -> list[LookupOutcome]:
    async with aclosing(LookupClient(Endpoint(service.url, deadline=deadline))) as client:
        questions = [Question(310, f"ref-{number}", "ana@example.org") for number in range(count)]
        return [reply.outcome for reply in await asyncio.gather(*map(client.ask, questions))]


async def test_healthy_it_knows_some_and_not_others(service: LookupService):
    """Both kinds of answer come, the same for the same person, and nothing fails."""
    first, second = await ask(service, 40), await ask(service, 40)
    assert first == second
    assert {outcome.outcome for outcome in first} == {Outcome.EXISTING, Outcome.NON_EXISTING}


async def test_slow_it_answers_later(service: LookupService):
    """A slow service answers too, after a while."""
    service.behave(Behaviour.SLOW)
    began = time.monotonic()
    [outcome] = await ask(service)
    assert outcome.cause is None
    assert time.monotonic() - began >= SLOW


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (Behaviour.ERRORS, Cause.HTTP_STATUS),
        (Behaviour.HANGING, Cause.TIMEOUT),
        (Behaviour.REFUSING, Cause.CONNECT),
    ],
)
async def test_each_trouble_has_its_cause(service: LookupService, behaviour: Behaviour, cause: Cause):
    """Each trouble makes lookups fail in its own way, and being told healthy again ends it."""
    service.behave(behaviour)
    [outcome] = await ask(service, deadline=0.5)
    assert outcome.cause is cause
    service.behave(Behaviour.HEALTHY)
    [outcome] = await ask(service)
    assert outcome.cause is None


async def test_rubbish_is_never_an_answer(service: LookupService):
    """Whatever rubbish it sends, no reply counts as an answer, and more than one kind is seen."""
    service.behave(Behaviour.RUBBISH)
    causes = Counter(outcome.cause for outcome in await ask(service, 12))
    assert set(causes) == {Cause.WRONG_DATA, Cause.NO_DATA, Cause.TOO_LARGE}


async def test_refusing_closes_kept_alive_connections_and_the_port(service: LookupService):
    """A connection that is open when it starts to refuse is closed, and a new one is refused."""
    address = ("127.0.0.1", int(service.url.split(":")[2].partition("/")[0]))
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"POST /lookup HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")  # it is accepted, and kept alive
        service.behave(Behaviour.REFUSING)
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_it_is_told_over_http_even_while_it_refuses(service: LookupService):
    """The control port takes the name of a behaviour, says which is in force, and refuses nonsense."""

    def control(body: bytes | None = None) -> str:
        request = urllib.request.Request(
            service.control_url, data=body, method="GET" if body is None else "PUT"
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.read().decode()

    assert control() == "healthy\n"
    assert control(b"refusing") == "refusing\n"
    assert service.behaviour is Behaviour.REFUSING
    assert control(b"healthy") == "healthy\n"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        control(b"drunk")
    assert service.behaviour is Behaviour.HEALTHY


def test_stopping_a_hanging_one_is_quick():
    """A question that hangs does not keep the service from stopping, and stopping twice is harmless."""
    lookup = LookupService()
    lookup.start()
    lookup.behave(Behaviour.HANGING)
    address = ("127.0.0.1", int(lookup.url.split(":")[2].partition("/")[0]))
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"POST /lookup HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        began = time.monotonic()
        lookup.stop()
        assert time.monotonic() - began < 5
    lookup.stop()


async def test_a_path_may_choose_the_behaviour(service: LookupService):
    """A question at /hanging hangs though the service is healthy, and others are answered."""
    path = service.url.removesuffix("lookup")
    async with aclosing(LookupClient(Endpoint(f"{path}hanging", deadline=0.3))) as client:
        reply = await client.ask(Question(310, "ref", "ana@example.org"))
    assert reply.outcome.cause is Cause.TIMEOUT
    [outcome] = await ask(service)
    assert outcome.cause is None


async def test_who_answers_may_be_chosen_and_each_question_is_kept():
    """Everybody is subscribed if it is told so; the questions are counted and can be looked at."""
    with LookupService(subscribed) as service:
        outcomes = await ask(service, 3)
    assert {outcome.outcome for outcome in outcomes} == {Outcome.EXISTING}
    assert service.asked == 3
    assert sorted(question["contactRef"] for question in service.questions) == ["ref-0", "ref-1", "ref-2"]
    assert service.authorizations == [None] * 3
