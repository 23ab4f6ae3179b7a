"""A connection ends its session between two requests, and before the broker would."""

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import conn
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import SaslAuthenticateRequest

from streams.authentication.sessions import SessionConnection, end_sessions_in_time
from tests.timing import until


class Writer:
    def write(self, _: bytes) -> None: ...

    def close(self) -> None: ...


class Reader:
    def at_eof(self) -> bool:
        return False


def opened(client: AIOKafkaClient | None = None) -> SessionConnection:
    """One that is open, to nobody, by a client."""
    made = SessionConnection("127.0.0.1", 1, on_close=client and client._on_connection_closed)
    made._reader, made._writer, made._closed_fut = Reader(), Writer(), asyncio.Future()
    made._closed_fut.set_result(None)
    made._read_task = asyncio.get_running_loop().create_future()
    made.random = lambda: 0.0
    return made


@pytest.fixture
async def connection() -> SessionConnection:
    return opened()


async def told(connection: SessionConnection, **answer: Any) -> None:
    """Let the broker answer to a proof."""

    async def answered() -> Any:
        return SimpleNamespace(**answer)

    await connection._noted(answered())


async def test_a_session_that_ends_while_idle_closes_at_once(connection: SessionConnection) -> None:
    """Before its lifetime is over, the connection is no longer offered."""
    await told(connection, session_lifetime_ms=20)
    assert connection.connected()
    await until(lambda: not connection.connected())
    assert not connection.connected()


async def test_what_is_under_way_gets_its_answer(connection: SessionConnection) -> None:
    """Once its session is over a connection takes no request; it stays until the last answer is in."""
    connection._requests.append((None, None, answer := asyncio.Future()))
    await told(connection, session_lifetime_ms=1)
    await until(lambda: connection._session_over)
    assert not connection.connected()
    assert connection._reader is not None
    connection._handle_frame(b"answer")
    assert answer.result() == b"answer"
    assert not connection.connected()


async def test_a_client_that_closes_waits_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections whose sessions are over are closed with the others; those of another client are not."""
    monkeypatch.setattr(conn, "AIOKafkaConnection", conn.AIOKafkaConnection)  # put back by the end
    monkeypatch.setattr(AIOKafkaClient, "close", AIOKafkaClient.close)
    end_sessions_in_time()
    closing, other = AIOKafkaClient(), AIOKafkaClient()
    answers = []
    for client in (closing, other):
        connection = opened(client)
        connection._requests.append((None, None, answer := asyncio.Future()))
        answers.append((connection, answer))
        await told(connection, session_lifetime_ms=1)
        await until(lambda one=connection: one._session_over)
    (ours, unanswered), (theirs, _) = answers
    await closing.close()
    assert ours._reader is None
    assert isinstance(unanswered.exception(), KafkaConnectionError)
    assert theirs._reader is not None
    await other.close()
    assert theirs._reader is None


@pytest.mark.parametrize("answer", [{}, {"session_lifetime_ms": 0}])
async def test_a_session_without_an_end_stays(connection: SessionConnection, answer: dict[str, int]) -> None:
    """An old broker says nothing, and one without a limit says 0."""
    await told(connection, **answer)
    assert connection._session_end is None
    connection.close()


async def test_nothing_is_left_of_a_closed_connection(connection: SessionConnection) -> None:
    """Its timer is gone with it."""
    await told(connection, session_lifetime_ms=60_000)
    connection.close()
    assert connection._session_end is not None
    assert connection._session_end.cancelled()


def test_the_answer_tells_how_long_a_session_lasts() -> None:
    """The client asks in a version of the protocol whose answer has the lifetime."""
    newest = SaslAuthenticateRequest(b"").prepare({36: (0, 2)})
    assert "session_lifetime_ms" in newest.RESPONSE_TYPE.SCHEMA.names


def test_aiokafka_has_what_is_replaced() -> None:
    """The client makes its connections by the name that is replaced."""
    assert "AIOKafkaConnection(" in inspect.getsource(conn.create_conn)
