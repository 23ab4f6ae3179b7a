"""A client beside a service that misbehaves to order, and what the tests ask it."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from ssl import SSLContext
from typing import Any

from streams.lookup.client import Endpoint, LookupClient, Question
from tests.lookup.faulty_server import Behaviour, FaultyServer, healthy

QUESTION = Question(310, "c0ntact-ref", "ana@example.org")
DEADLINE = 0.3
#: Seconds within which a service that answers does so, however busy the machine is.
AMPLE = 30.0


@asynccontextmanager
async def asking(
    behaviour: Behaviour = healthy(),  # noqa: B008 - a function, which keeps nothing of a call
    *,
    greeting: Behaviour | None = None,
    tls: SSLContext | None = None,
    trusts: SSLContext | None = None,
    url: str | None = None,
    **endpoint: Any,
) -> AsyncIterator[tuple[FaultyServer, LookupClient]]:
    """A listening service and its client, both closed in the end.

    Args:
        behaviour: what the service does with a question.
        greeting: what it does with a new connection, before any question.
        tls: its certificate.
        trusts: whom the client trusts; None: whom the system trusts.
        url: where the client asks, with {port} for the service's; None: the service's own.
        endpoint: how the client asks.
    """
    async with FaultyServer(behaviour, greeting=greeting, tls=tls).listening() as server:
        asked_at = Endpoint(url.format(port=server.port) if url else server.url, **endpoint)
        async with aclosing(LookupClient(asked_at, ssl_context=trusts)) as client:
            yield server, client
