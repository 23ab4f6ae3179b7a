"""What the connections for lookups are, whoever uses them."""

from contextlib import aclosing

import httpx
import pytest

from streams.lookup.http import Connections, Exchange
from tests.lookup.faulty_server import FaultyServer, response, says


async def test_no_cookie_is_kept() -> None:
    """Of two questions on one connection, the second has no cookie that came with the first's answer."""
    giving = says(response(headers=(b"Set-Cookie: session=abc; Path=/",)), keep=True)
    async with FaultyServer(giving).listening() as server:
        url = httpx.URL(f"http://localhost:{server.port}/")
        connections = Connections(url, httpx.Headers(), body_cap=1000, most=1, ssl_context=None)
        async with aclosing(connections):
            for _ in range(2):
                exchange = Exchange(only_fresh=False)
                assert (await connections.post(b"{}", exchange)).headers["Set-Cookie"]
                exchange.close()
        assert (server.connections, len(server.requests)) == (1, 2)
        assert not any(b"cookie" in head.lower() for head, _ in server.requests)


def test_a_header_that_could_begin_another_one_is_refused() -> None:
    """A line break in a header's value is found before anything is sent, and the value is not repeated."""
    headers = httpx.Headers({"Authorization": "s3cret\r\nX-Injected: yes"})
    with pytest.raises(ValueError, match=r"^a header holds a control character$"):
        Connections(httpx.URL("http://localhost/"), headers, body_cap=1000, most=1, ssl_context=None)
