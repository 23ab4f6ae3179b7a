"""The deadline of an answer, and the connection that a request takes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from struct import pack
from typing import Any, TypeVar

import pytest
from aiokafka import AIOKafkaClient, client, conn
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataResponse_v0
from aiokafka.protocol.produce import ProduceRequest

from streams.authentication.sessions import end_sessions_in_time
from streams.kafka.sending import _Connection, send_simply
from tests.clients import happens

T = TypeVar("T")

#: Seconds that a request may wait for its answer. So many that no machine is ever too slow: tests let them
#: pass at once, and the seconds that a test takes itself do not count beside them.
WITHIN = 40_000.0

_PRODUCE, _HANDSHAKE, _VERSIONS, _AUTHENTICATE = 0, 17, 18, 36
_KNOWN = {_PRODUCE: (0, 0), _HANDSHAKE: (1, 1), _VERSIONS: (0, 0), _AUTHENTICATE: (1, 1)}
#: What an ApiVersions request of version 0 is answered: no error, and the requests that are known.
VERSIONS = pack(">hi", 0, len(_KNOWN)) + b"".join(
    pack(">hhh", key, *range_) for key, range_ in _KNOWN.items()
)


def framed(answer: bytes) -> bytes:
    return pack(">i", len(answer)) + answer


def _answer(asked: tuple[asyncio.StreamWriter, bytes], body: bytes) -> None:
    writer, request = asked
    writer.write(framed(request[4:8] + body))


class Broker:
    """Tells whoever connects which requests it knows; answers each further one when a test says so."""

    def __init__(self) -> None:
        self.address: tuple[str, int] = ("", 0)
        self.connections = 0
        self.ended = 0  # connections
        self.greets = True  # answers the first request of a connection
        self.answers: dict[int, bytes] = {}  # to requests that are answered at once
        self.unanswered: deque[tuple[asyncio.StreamWriter, bytes]] = deque()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        greets = self.greets
        try:
            while size := int.from_bytes(await reader.readexactly(4), "big"):
                asked = writer, await reader.readexactly(size)
                key = int.from_bytes(asked[1][:2], "big")
                if greets:
                    _answer(asked, VERSIONS)
                elif key in self.answers:
                    _answer(asked, self.answers[key])
                else:
                    self.unanswered.append(asked)
                greets = False
        except (EOFError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()

    async def asked(self, count: int = 1) -> None:
        """Wait until so many requests await an answer."""
        await happens(lambda: len(self.unanswered) >= count)

    def answer(self, body: bytes = VERSIONS) -> None:
        """Answer the request that has waited longest."""
        _answer(self.unanswered.popleft(), body)

    def answer_token(self, token: bytes) -> None:
        writer, _ = self.unanswered.popleft()
        writer.write(framed(token))

    def hang_up(self) -> None:
        """End the connection of the request that has waited longest."""
        writer, _ = self.unanswered.popleft()
        writer.close()


@pytest.fixture(autouse=True)
def _simply(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = [(client.AIOKafkaClient, "send"), (conn, "wait_for")]
    stock += [(_Connection, name) for name in ("send", "_send_sasl_token")]
    for owner, name in stock:
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back by the end
    send_simply()


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    made = Broker()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.address = server.sockets[0].getsockname()
        yield made
        await happens(lambda: made.ended == made.connections)


@pytest.fixture
async def kafka_client(broker: Broker) -> AsyncIterator[Any]:
    """A client that knows the broker, as number 1, and is not connected yet."""
    made: Any = AIOKafkaClient(request_timeout_ms=int(WITHIN * 1000), connections_max_idle_ms=None)
    made.cluster.update_metadata(MetadataResponse_v0([(1, *broker.address)], []))
    yield made
    await made.close()


@pytest.fixture
async def connection(broker: Broker) -> AsyncIterator[Any]:
    """A connection to the broker, without a client."""
    made = await conn.create_conn(*broker.address, request_timeout_ms=int(WITHIN * 1000))
    yield made
    made.close()


class Clock:
    """The event loop's, which runs, and which a test puts forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._time, self._ahead = self._loop.time, 0.0
        monkeypatch.setattr(self._loop, "time", lambda: self._time() + self._ahead)

    async def passes(self, seconds: float) -> None:
        """Put it forward, and let everything run that is due."""
        self._ahead += seconds
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def soon(awaited: Awaitable[T]) -> T:
    """What somebody waits for that is to come by itself."""
    return await asyncio.wait_for(awaited, 30)


def request() -> ApiVersionRequest:
    return ApiVersionRequest()


async def sent(broker: Broker, kafka_client: Any, **options: Any) -> asyncio.Task[Any]:
    """Send a request to the broker, and let it arrive there."""
    before = len(broker.unanswered)
    task = asyncio.create_task(kafka_client.send(1, request(), **options))
    # Where a test fails nobody awaits it any more, and Python is to be quiet about that.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await broker.asked(before + 1)
    return task


async def opened(broker: Broker, kafka_client: Any) -> Any:
    """The client's connection to the broker, after one request that was answered."""
    first = await sent(broker, kafka_client)
    broker.answer()
    await soon(first)
    return kafka_client._conns[1, ConnectionGroup.DEFAULT]


def timers_of(connection: Any) -> int:
    loop: Any = asyncio.get_running_loop()
    look = connection.answer_watch._look
    return sum(each._callback == look for each in loop._scheduled if not each.cancelled())


# -- deadlines --------------------------------------------------------------------------------------------


async def test_a_request_without_an_answer_fails_with_its_connection(
    broker: Broker, kafka_client: Any, clock: Clock
) -> None:
    """It has timed out; those behind it fail as on a connection that broke, and the next opens another."""
    connection = await opened(broker, kafka_client)
    overdue = await sent(broker, kafka_client)
    await clock.passes(WITHIN / 2)
    behind = [await sent(broker, kafka_client) for _ in range(2)]
    await clock.passes(WITHIN * 0.45)
    assert not overdue.done()
    await clock.passes(WITHIN * 0.1)
    with pytest.raises(RequestTimedOutError):
        await soon(overdue)
    for each in behind:
        with pytest.raises(KafkaConnectionError):
            await soon(each)
    assert not connection.connected()
    await happens(lambda: broker.ended == 1)
    broker.unanswered.clear()
    assert await opened(broker, kafka_client) is not connection


async def test_requests_that_are_overdue_at_the_same_moment_have_all_timed_out(
    broker: Broker, kafka_client: Any, clock: Clock
) -> None:
    """None of them is told that somebody else's request broke the connection."""
    await opened(broker, kafka_client)
    overdue = [await sent(broker, kafka_client) for _ in range(3)]
    await clock.passes(WITHIN * 1.1)
    for each in overdue:
        with pytest.raises(RequestTimedOutError):
            await soon(each)


async def test_the_request_that_opens_a_connection_has_a_deadline_too(
    broker: Broker, kafka_client: Any, clock: Clock
) -> None:
    """It goes aiokafka's own way, which relies on the connection for that."""
    overdue = await sent(broker, kafka_client)
    await clock.passes(WITHIN * 1.1)
    with pytest.raises(RequestTimedOutError):
        await soon(overdue)
    assert not kafka_client._conns[1, ConnectionGroup.DEFAULT].connected()


async def test_a_broker_that_does_not_say_what_it_knows_is_not_waited_for(
    broker: Broker, clock: Clock
) -> None:
    """A connection whose first request has no answer in time is not opened."""
    broker.greets = False
    opening = asyncio.create_task(conn.create_conn(*broker.address, request_timeout_ms=int(WITHIN * 1000)))
    await broker.asked()
    await clock.passes(WITHIN * 0.9)
    assert not opening.done()
    await clock.passes(WITHIN * 0.2)
    with pytest.raises(TimeoutError):
        await soon(opening)


@pytest.mark.parametrize("answered", [True, False])
async def test_a_slow_answer_takes_no_time_from_the_next_request(
    answered: bool, broker: Broker, kafka_client: Any, clock: Clock
) -> None:
    """A request has its own time from when it was sent, whatever came before; after that it has timed out."""
    await opened(broker, kafka_client)
    slow = await sent(broker, kafka_client)
    await clock.passes(WITHIN * 0.8)
    later = await sent(broker, kafka_client)
    broker.answer()
    await soon(slow)
    await clock.passes(WITHIN * 0.9)  # the slow one would be overdue for long
    assert not later.done()
    if answered:
        broker.answer()
        assert (await soon(later)).error_code == 0
        return
    await clock.passes(WITHIN * 0.2)
    with pytest.raises(RequestTimedOutError):
        await soon(later)


async def test_each_of_many_requests_has_its_own_deadline(
    broker: Broker, kafka_client: Any, clock: Clock
) -> None:
    """The one that times out is the first one that was sent too long ago and has no answer."""
    connection = await opened(broker, kafka_client)
    asked = deque([await sent(broker, kafka_client)])
    for _ in range(20):  # two are always under way, and each waits for less than it may
        await clock.passes(WITHIN * 0.4)
        asked.append(await sent(broker, kafka_client))
        broker.answer()
        await soon(asked.popleft())
        assert connection.connected()
    await clock.passes(WITHIN * 0.9)
    assert not asked[0].done()
    await clock.passes(WITHIN * 0.2)
    with pytest.raises(RequestTimedOutError):
        await soon(asked[0])


async def given_up(broker: Broker, kafka_client: Any) -> None:
    task = await sent(broker, kafka_client)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_request_given_up_is_not_waited_for(broker: Broker, kafka_client: Any, clock: Clock) -> None:
    """Those behind it are, each until its own deadline."""
    connection = await opened(broker, kafka_client)
    await given_up(broker, kafka_client)
    await clock.passes(WITHIN / 2)
    behind = await sent(broker, kafka_client)
    await clock.passes(WITHIN * 0.9)  # the one that was given up would be overdue
    assert not behind.done()
    assert connection.connected()
    await clock.passes(WITHIN * 0.2)
    with pytest.raises(RequestTimedOutError):
        await soon(behind)


@pytest.mark.parametrize("late", [True, False], ids=["its answer comes late", "its answer never comes"])
async def test_after_a_request_given_up_the_next_one_has_a_deadline(
    late: bool, broker: Broker, kafka_client: Any, clock: Clock
) -> None:
    """Also where nothing was left to watch meanwhile, and whether or not its answer still comes."""
    connection = await opened(broker, kafka_client)
    await given_up(broker, kafka_client)
    await clock.passes(WITHIN * 1.1)
    assert connection.connected()
    following = await sent(broker, kafka_client)
    if late:
        broker.answer()
        await happens(lambda: len(connection._requests) == 1)
    await clock.passes(WITHIN * 0.9)
    assert not following.done()
    await clock.passes(WITHIN * 0.2)
    with pytest.raises(RequestTimedOutError):
        await soon(following)


# -- what the watch costs ---------------------------------------------------------------------------------


async def test_many_answered_requests_leave_one_timer(
    broker: Broker, kafka_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are sent, one at a time or several: no other is set, and nothing of them is kept."""
    connection = await opened(broker, kafka_client)
    timers: list[Any] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_at", lambda *timer, **_: timers.append(timer))
    for at_a_time in [1] * 50 + [2, 5, 3, 1] * 25:
        under_way = [connection.send(request()) for _ in range(at_a_time)]
        assert len(connection.answer_watch._sent_at) == len(connection._requests) == at_a_time
        while not all(each.done() for each in under_way):
            if broker.unanswered:
                broker.answer()
            await asyncio.sleep(0)
    assert timers_of(connection) == 1
    assert timers == []


async def test_a_connection_that_awaits_nothing_has_no_timer_in_the_end(
    broker: Broker, kafka_client: Any, clock: Clock
) -> None:
    """Nobody is woken again and again for a connection that idles."""
    connection = await opened(broker, kafka_client)
    assert timers_of(connection) == 1
    await clock.passes(WITHIN * 1.1)
    assert timers_of(connection) == 0
    assert not connection.answer_watch._sent_at
    assert connection.connected()


async def test_what_expects_no_answer_is_not_watched(connection: Any, clock: Clock) -> None:
    """Neither a request nor a token: nothing comes that could be overdue."""
    await clock.passes(WITHIN * 1.1)
    await connection.send(ProduceRequest(None, 0, 0, []), expect_response=False)
    await connection._send_sasl_token(b"token", False)
    assert timers_of(connection) == 0


async def test_a_connection_that_is_gone_is_not_kept_by_its_timer(broker: Broker, clock: Clock) -> None:
    """Whoever drops it without closing it is told so, and the timer does nothing when it is due."""
    loop = asyncio.get_running_loop()
    failed: list[Any] = []
    loop.set_exception_handler(lambda _, context: failed.append(context["message"]))
    connection = await conn.create_conn(*broker.address, request_timeout_ms=int(WITHIN * 1000))
    answer = connection.send(request())
    watch, gone = connection.answer_watch, weakref.ref(connection)
    assert timers_of(connection) == 1
    held = [connection]
    del connection
    with pytest.warns(ResourceWarning, match="Unclosed"):
        held.clear()
    gc.collect()
    assert gone() is None
    assert isinstance(answer.exception(), KafkaConnectionError)
    failed.clear()  # it says that nobody closed it
    assert watch._timer is not None
    await clock.passes(WITHIN * 1.1)
    assert watch._timer is None
    assert failed == []


async def test_a_closed_connection_s_timer_does_nothing(connection: Any, clock: Clock) -> None:
    """What was under way has failed with it."""
    answer = connection.send(request())
    connection.close()
    assert isinstance(answer.exception(), KafkaConnectionError)
    await clock.passes(WITHIN * 1.1)
    assert timers_of(connection) == 0
    assert not connection.answer_watch._sent_at


async def test_it_may_be_said_twice(connection: Any) -> None:
    """Each start of a consumer says it; a request is still sent, and watched, once."""
    send_simply()
    send_simply()
    connection.send(request())
    assert len(connection._requests) == len(connection.answer_watch._sent_at) == 1
    assert timers_of(connection) == 1


# -- SASL -------------------------------------------------------------------------------------------------


async def test_a_token_is_answered_as_it_is(broker: Broker, connection: Any) -> None:
    """An answer to a token of SASL has no header."""
    answer = connection._send_sasl_token(b"token")
    await broker.asked()
    broker.answer_token(b"challenge")
    assert await soon(answer) == b"challenge"


async def test_a_token_without_an_answer_has_timed_out(broker: Broker, connection: Any, clock: Clock) -> None:
    """At its own deadline, as a request."""
    await clock.passes(WITHIN * 0.5)
    answer = connection._send_sasl_token(b"token")
    await broker.asked()
    await clock.passes(WITHIN * 0.9)
    assert not answer.done()
    await clock.passes(WITHIN * 0.2)
    with pytest.raises(TimeoutError):
        await soon(answer)


async def test_a_session_is_still_ended_in_time(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's connections note how long their sessions last, and have deadlines all the same."""
    monkeypatch.setattr(conn, "AIOKafkaConnection", conn.AIOKafkaConnection)  # put back by the end
    monkeypatch.setattr(client.AIOKafkaClient, "close", client.AIOKafkaClient.close)
    end_sessions_in_time()
    send_simply()
    plain = b"PLAIN"
    broker.answers[_HANDSHAKE] = pack(">hih", 0, 1, len(plain)) + plain
    broker.answers[_AUTHENTICATE] = pack(">hhiq", 0, -1, 0, 3_600_000)
    connection = await conn.create_conn(
        *broker.address,
        request_timeout_ms=int(WITHIN * 1000),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username="worker",
        sasl_plain_password="secret",
    )
    try:
        assert timers_of(connection) == 1
        assert connection._session_end is not None
    finally:
        connection.close()


# -- which connection -------------------------------------------------------------------------------------


async def test_an_open_connection_is_used_and_another_one_is_opened(
    broker: Broker, kafka_client: Any
) -> None:
    """The client opens a connection for a request where there is none, or the broker has ended it."""
    first = await opened(broker, kafka_client)
    assert await opened(broker, kafka_client) is first
    assert broker.connections == 1
    lost = await sent(broker, kafka_client)
    broker.hang_up()
    with pytest.raises(KafkaConnectionError):
        await soon(lost)
    assert await opened(broker, kafka_client) is not first
    assert broker.connections == 2


async def test_each_group_of_requests_has_its_own_connection(broker: Broker, kafka_client: Any) -> None:
    """What waits long, as a request to join the group, holds up no fetch."""
    await opened(broker, kafka_client)
    joins = [await sent(broker, kafka_client, group=ConnectionGroup.COORDINATION) for _ in range(2)]
    fetches = await sent(broker, kafka_client)
    assert broker.connections == 2
    broker.unanswered.rotate(1)  # the last one is answered first
    broker.answer()
    await soon(fetches)
    assert not any(each.done() for each in joins)
    for each in joins:
        broker.answer()
        await soon(each)


async def test_a_broker_that_nobody_knows_is_not_ready(kafka_client: Any) -> None:
    """As aiokafka says it."""
    with pytest.raises(NodeNotReadyError):
        await kafka_client.send(2, request())


@pytest.mark.parametrize("acks", [0, 1])
async def test_a_record_that_is_to_have_no_answer_has_none(
    acks: int, broker: Broker, kafka_client: Any
) -> None:
    """Whoever writes without acknowledgement waits for nothing; with it, for the broker."""
    connection = await opened(broker, kafka_client)
    writes = asyncio.create_task(kafka_client.send(1, ProduceRequest(None, acks, 0, [])))
    await broker.asked()
    if acks:
        assert len(connection._requests) == 1
        broker.answer(pack(">i", 0))
        assert (await soon(writes)).topics == []
    else:
        assert await soon(writes) is None
        assert not connection._requests
