"""Sends requests over aiokafka's connections, with less around each of them.

The deadline of an answer: aiokafka gives each request a timer, a context manager and a coroutine around its
future, and cancels nearly every one of these timers some milliseconds later. Answers come in the order of
their requests, so the first request that has none is the first one that can be overdue: one timer a
connection, which looks when that would be, is enough.

The connection: aiokafka asks for each request whether its node is ready, and what kind of request it is. One
that is open is used at once.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from aiokafka import client, conn
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import RequestTimedOutError

#: aiokafka's own class; its module may have one of ours in its place (streams/authentication/sessions.py).
_Connection: Any = next(each for each in conn.AIOKafkaConnection.__mro__ if each.__module__ == conn.__name__)
_client_send = client.AIOKafkaClient.send
_send, _send_sasl_token = _Connection.send, _Connection._send_sasl_token


def send_simply() -> None:
    """Let every aiokafka client of this process send as this module says."""
    client.AIOKafkaClient.send = _send_if_open
    _Connection.send = _watched(_send)
    _Connection._send_sasl_token = _watched(_send_sasl_token)
    conn.wait_for = _untimed  # last: another thread may send meanwhile, and two timers do no harm


async def _send_if_open(
    client: Any, node_id: int, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT
) -> Any:
    connection = client._conns.get((node_id, group))
    if connection is None or not connection.connected() or getattr(request, "required_acks", None) == 0:
        return await _client_send(client, node_id, request, group=group)
    try:
        return await connection.send(request)
    except TimeoutError as exc:
        connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
        raise RequestTimedOutError from exc


def _untimed(answer: asyncio.Future[Any], _seconds: float) -> asyncio.Future[Any]:
    return answer


def _watched(send: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of a connection that sends, and watches for the answer."""

    def send_watched(connection: Any, message: Any, expect_response: bool = True) -> Any:
        answer = send(connection, message, expect_response)
        if expect_response:
            _note_sent(connection)
        return answer

    return send_watched


def _note_sent(connection: Any) -> None:
    try:
        watch = connection.answer_watch
    except AttributeError:
        watch = connection.answer_watch = _AnswerWatch(connection)
    watch.note_sent(connection)


class _AnswerWatch:
    """When the requests were sent that one connection awaits answers to."""

    __slots__ = ("_connection", "_loop", "_sent_at", "_timer", "_within")

    def __init__(self, connection: Any) -> None:
        self._connection = weakref.ref(connection)
        self._loop = asyncio.get_running_loop()
        self._within: float = connection._request_timeout  # seconds
        self._sent_at: deque[float] = deque()  # of the requests in `connection._requests`, or of more
        self._timer: asyncio.TimerHandle | None = None

    def note_sent(self, connection: Any) -> None:
        """A request was sent just now."""
        now = self._loop.time()
        self._sent_at.append(now)
        self._forget_answered(connection)
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._within, self._look)

    def _forget_answered(self, connection: Any) -> None:
        sent_at, awaited = self._sent_at, len(connection._requests)
        while len(sent_at) > awaited:
            sent_at.popleft()

    def _look(self) -> None:
        self._timer = None
        connection = self._connection()
        if connection is None:
            return
        self._forget_answered(connection)
        overdue = self._loop.time() - self._within
        for sent_at, (_, _, answer) in zip(self._sent_at, connection._requests, strict=False):
            if sent_at > overdue:
                self._timer = self._loop.call_at(sent_at + self._within, self._look)
                return
            if not answer.done():  # nor given up by who asked
                answer.set_exception(TimeoutError())  # the client closes the connection
