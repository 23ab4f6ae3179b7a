"""Connections that are closed before the broker would do it.

With ``connections.max.reauth.ms`` (KIP-368), and with tokens, a broker says with its answer to a client's
proof how long the session lasts, and closes the connection at the first request after that. aiokafka passes
over that answer. A connection of this module takes no request any more some time earlier: the client opens
another one for its next request, with a new proof. The old one closes when its last answer is in, so that no
request is lost.
"""

from __future__ import annotations

import asyncio
import random
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import conn
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import SaslAuthenticateRequest

#: A session is not used for longer than a share between these two of its lifetime: not all connections of a
#: worker shall be opened anew in the same moment.
SHORTEST_SHARE, LONGEST_SHARE = 0.75, 0.9


#: Connections whose sessions are over, until their last answer is in or their client closes.
_awaiting_answers: set[SessionConnection] = set()


class SessionConnection(conn.AIOKafkaConnection):  # type: ignore[misc]  # aiokafka ships no types
    """A connection that ends its session by itself."""

    #: Gives a number from 0 to 1.
    random: Callable[[], float] = staticmethod(random.random)
    _session_end: asyncio.TimerHandle | None = None
    _session_over = False

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        """Do what aiokafka's connection does, and note what is said of the session."""
        answer: Awaitable[Any] = super().send(request, expect_response)
        return self._noted(answer) if isinstance(request, SaslAuthenticateRequest) else answer

    async def _noted(self, answer: Awaitable[Any]) -> Any:
        response = await answer
        # Version 0 of the answer does not tell; 0 says that the session does not end.
        lifetime = getattr(response, "session_lifetime_ms", 0) / 1000
        if lifetime > 0:
            share = SHORTEST_SHARE + (LONGEST_SHARE - SHORTEST_SHARE) * self.random()
            self._session_end = self._loop.call_later(share * lifetime, _end_session, weakref.ref(self))
        return response

    def connected(self) -> bool:
        """Return whether a request can be sent on this connection (asked by aiokafka's client)."""
        return not self._session_over and bool(super().connected())

    def _handle_frame(self, response: bytes) -> None:
        super()._handle_frame(response)
        self._close_if_over()

    def _close_if_over(self) -> None:
        # What is under way gets its answer: a broker looks at the session's end when a request comes in.
        if self._session_over and not self._requests:
            self.close(reason=conn.CloseReason.IDLE_DROP)

    def _end_session(self) -> None:
        # The client lets go of a connection that takes no requests, and the task that reads answers does not
        # hold it.
        self._session_over = True
        _awaiting_answers.add(self)
        self._close_if_over()

    def close(self, reason: Any = None, exc: Exception | None = None) -> Any:
        """Do what aiokafka's connection does."""
        if self._session_end is not None:
            self._session_end.cancel()
        _awaiting_answers.discard(self)
        return super().close(reason, exc)

    def is_of(self, client: AIOKafkaClient) -> bool:
        """Return whether this client opened the connection."""
        return getattr(self._on_close_cb, "__self__", None) is client

    def authenticator_oauth(self) -> Any:
        """Make what proves by a token who we are."""
        return _Bearer(sasl_oauth_token_provider=self._sasl_oauth_token_provider)


def _end_session(connection: weakref.ref[SessionConnection]) -> None:
    if (held := connection()) is not None:
        held._end_session()


class _Bearer(conn.OAuthAuthenticator):  # type: ignore[misc]  # aiokafka ships no types
    """Takes a refusal for one.

    A broker answers to a token that it refuses with a challenge first (RFC 7628, section 3.2.2), which
    aiokafka takes for consent; then it waits for one more message, to which it answers with the error.
    """

    async def step(self, payload: bytes | None) -> Any:
        if self._token_sent and payload:
            return b"\x01", True
        return await super().step(payload)


_close_client = AIOKafkaClient.close


async def _close(client: AIOKafkaClient) -> None:
    """Close a client, and also the connections that it has let go of because their sessions are over."""
    await _close_client(client)
    left = [each for each in _awaiting_answers if each.is_of(client)]
    await asyncio.gather(*(each.close(reason=conn.CloseReason.SHUTDOWN) for each in left))


def end_sessions_in_time() -> None:
    """Let every aiokafka client of this process connect, and close, as this module says."""
    conn.AIOKafkaConnection = SessionConnection
    AIOKafkaClient.close = _close
