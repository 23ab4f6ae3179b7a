"""One question to one organisation's lookup service: one deadline, and a value in every case.

``POST <url>`` with ``{"email": …, "contactRef": …}``. Whatever the service does (refuse, hang, drip, lie,
flood), ``ask`` comes back within the deadline with a ``Reply``; only its caller's own cancellation goes
through it. Nothing here logs: a lookup's fate is counted by the caller, and nothing that came from the other
side is repeated anywhere.
"""

import asyncio
import base64
import contextlib
import email.utils
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, NamedTuple, Protocol

import httpx
import orjson

from streams.lookup.causes import ReplyRefused, cause_of
from streams.lookup.http import Connections, Exchange
from streams.lookup.response import read_body
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.messages.lookup_reply import NOT_SUBSCRIBED, SUBSCRIBED_WHEN, decode_lookup_reply

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds: a service that asks for more is believed this far."""

_FAILS_NOBODY_ELSE = frozenset(range(400, 500)) - {401, 403, 408, 429}


class ServiceHealth(StrEnum):
    """What a circuit breaker may conclude about the service.

    NEUTRAL is neither served nor failed: a run of these must not open the breaker, nor close it.
    """

    HEALTHY = "healthy"
    NEUTRAL = "neutral"
    FAILURE = "failure"


class NotFound(Enum):
    """What this service's 404 means."""

    FAILURE = "failure"
    NOT_SUBSCRIBED = "not_subscribed"


class EmptyMeans(Enum):
    """What this service's empty answer (``{}``) means."""

    NOT_SUBSCRIBED = "not_subscribed"
    ERROR = "error"


class Question(NamedTuple):
    """Whether one person is one organisation's subscriber."""

    org_id: int
    contact_ref: str
    email: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One organisation's lookup service.

    ``url`` is http or https; a user and password in it become Basic authentication, unless ``authorization``,
    the raw value of that header, is given (see ``basic``). Neither is in the repr. ``deadline`` is for the
    whole exchange: name, connection, TLS, sending, headers, body, decoding. Of the dotted paths in
    ``subscribed_when`` one must be JSON true.
    """

    url: str = field(repr=False)
    authorization: str | None = field(default=None, repr=False)
    deadline: float = 2.0  # seconds
    on_not_found: NotFound = NotFound.FAILURE
    empty_means: EmptyMeans = EmptyMeans.NOT_SUBSCRIBED
    body_cap: int = 65_536  # bytes, inflated
    connections: int = 64  # open at once
    subscribed_when: tuple[str, ...] = SUBSCRIBED_WHEN


@dataclass(frozen=True, slots=True)
class Reply:
    """What a question came to."""

    outcome: LookupOutcome
    health: ServiceHealth
    retry_after: float | None = None  # seconds from now, where a 429 or 503 said so


def basic(user: str, password: str) -> str:
    """The ``Authorization`` value for Basic authentication, in UTF-8 (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _failed(
    cause: Cause, health: ServiceHealth = ServiceHealth.FAILURE, retry_after: float | None = None
) -> Reply:
    return Reply(LookupOutcome(Outcome.ERROR, cause), health, retry_after)


_NOT_SUBSCRIBED = Reply(LookupOutcome(Outcome.NON_EXISTING), ServiceHealth.HEALTHY)
_EMPTY = {
    EmptyMeans.NOT_SUBSCRIBED: NOT_SUBSCRIBED,
    EmptyMeans.ERROR: LookupOutcome(
        Outcome.ERROR, Cause.NO_DATA, detail="the answer is empty, and empty_means says that this is an error"
    ),
}
_TOO_LATE = _failed(Cause.TIMEOUT)
_NEVER_ASKED = _failed(Cause.SATURATED, ServiceHealth.NEUTRAL)


class Client(Protocol):
    """What asks the service: ``LookupClient``, or a fake of a few lines."""

    def ask(self, question: Question, *, within: float | None = None) -> Coroutine[Any, Any, Reply]:
        """One exchange, ended within so many seconds."""

    async def aclose(self) -> None:
        """Let go of the connections."""


class LookupClient:
    """Asks one organisation's service. Used on one event loop, and closed with ``aclose``.

    Args:
        endpoint: the service and how to talk to it.
        ssl_context: whom to trust, where it is not the system's certificate authorities.

    Raises:
        ValueError: the URL is none, or not http(s). The text does not quote it.
    """

    def __init__(self, endpoint: Endpoint, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._endpoint = endpoint
        url, from_url = _address(endpoint.url)
        authorization = endpoint.authorization or from_url
        headers = httpx.Headers(
            {
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a reply is a few hundred bytes
                "Content-Type": "application/json",
                "User-Agent": "confirmation-streams",
            }
        )
        if authorization is not None:
            headers["Authorization"] = authorization
        self._connections = Connections(
            url,
            headers,
            body_cap=endpoint.body_cap,
            most=endpoint.connections,
            ssl_context=ssl_context,
        )
        # Waiting here is cheap. In aiohttp's pool it is not, and looks the same as waiting for the service.
        self._slots = asyncio.Semaphore(endpoint.connections)

    async def ask(self, question: Question, *, within: float | None = None) -> Reply:
        """Ask, once; at most ``within`` seconds (less than the endpoint's deadline, or all of it).

        Raises:
            asyncio.CancelledError: the caller was cancelled. Nothing else, ever.
        """
        seconds = self._endpoint.deadline if within is None else min(within, self._endpoint.deadline)
        if seconds <= 0:
            return _NEVER_ASKED
        asked = False
        try:
            body = orjson.dumps({"email": question.email, "contactRef": question.contact_ref})
            async with asyncio.timeout(seconds):
                async with self._slots:
                    asked = True
                    return await self._exchange(body, question.contact_ref)
        except TimeoutError:
            return _TOO_LATE if asked else _NEVER_ASKED
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            return _failed(
                Cause.UNEXPECTED, ServiceHealth.NEUTRAL
            )  # the client was closed under the question
        except Exception:
            return _failed(
                Cause.UNEXPECTED, ServiceHealth.NEUTRAL
            )  # the question itself cannot be written as JSON

    async def aclose(self) -> None:
        """Close every connection at once. Questions under way fail."""
        await self._connections.aclose()

    async def _exchange(self, body: bytes, contact_ref: str) -> Reply:
        reply = await self._attempt(body, contact_ref, Exchange(only_fresh=False))
        if reply is None:
            reply = await self._attempt(body, contact_ref, Exchange(only_fresh=True))
        return reply or _failed(Cause.PROTOCOL)

    async def _attempt(self, body: bytes, contact_ref: str, exchange: Exchange) -> Reply | None:
        """One attempt; None when its kept-alive connection had ended before the service said anything."""
        try:
            response = await self._connections.post(body, exchange)
            return await self._read(response, contact_ref, exchange)
        except Exception as error:
            return None if exchange.went_stale else _failed(cause_of(error, exchange))
        finally:
            exchange.close()

    async def _read(self, response: httpx.Response, contact_ref: str, exchange: Exchange) -> Reply:
        status = response.status_code
        if status == 200:
            body = await read_body(response, self._endpoint.body_cap)
            if exchange.overflowed:
                raise ReplyRefused(Cause.TOO_LARGE)
            empty = _EMPTY[self._endpoint.empty_means]
            outcome = decode_lookup_reply(
                body, self._endpoint.subscribed_when, contact_ref=contact_ref, empty=empty
            )
            if outcome.outcome is not Outcome.ERROR:
                return Reply(outcome, ServiceHealth.HEALTHY)
            # The service did answer: a run of people whom it does not know must not open its breaker.
            return Reply(outcome, ServiceHealth.NEUTRAL if outcome is empty else ServiceHealth.FAILURE)
        if status == 404 and self._endpoint.on_not_found is NotFound.NOT_SUBSCRIBED:
            with contextlib.suppress(Exception):  # only read so that the connection can be kept
                await read_body(response, self._endpoint.body_cap)
            return _NOT_SUBSCRIBED
        if 300 <= status < 400:
            return _failed(Cause.REDIRECT)
        wait = None
        if status in (429, 503):
            wait = retry_after(response.headers.get("retry-after"), time.time)
        return _failed(
            Cause.HTTP_STATUS,
            ServiceHealth.NEUTRAL if status in _FAILS_NOBODY_ELSE else ServiceHealth.FAILURE,
            wait,
        )


def retry_after(value: str | None, wall_clock: Callable[[], float]) -> float | None:
    """Seconds to wait by a ``Retry-After`` field: a number of seconds, or a date (RFC 9110, 10.2.3).

    Never negative and at most ``LONGEST_RETRY_AFTER``; None where there is no field or it is neither.
    """
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        # More digits than int() takes would raise, and mean the ceiling anyway.
        return LONGEST_RETRY_AFTER if len(value) > 9 else min(float(value), LONGEST_RETRY_AFTER)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if until.tzinfo is None:
        return None  # HTTP dates are always GMT and say so
    return min(max(0.0, until.timestamp() - wall_clock()), LONGEST_RETRY_AFTER)


def _address(url: str) -> tuple[httpx.URL, str | None]:
    """The URL without user and password, and the Basic authentication that they make."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("the lookup URL is not a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("the lookup URL is not an http or https URL")
    if not parsed.userinfo:
        return parsed, None
    return parsed.copy_with(userinfo=b""), basic(parsed.username, parsed.password)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
