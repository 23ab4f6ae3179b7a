"""What the httpx client for lookups is, whoever uses it."""

from streams.lookup.http import EXCHANGE, Exchange, open_http
from tests.lookup.faulty_server import FaultyServer, response, says


async def test_cookies_are_kept_in_neither_jar() -> None:
    """Even httpx's own request building, which would add cookies, finds none."""
    giving = says(response(headers=(b"Set-Cookie: session=abc; Path=/",)), keep=True)
    async with FaultyServer(giving).listening() as server:
        EXCHANGE.set(Exchange(only_fresh=False))
        async with open_http(body_cap=1000, connections=1, ssl_context=None) as http:
            for _ in range(2):
                await http.post(f"http://localhost:{server.port}/", json={})
            assert len(http.cookies) == 0
        assert not any(b"cookie" in head.lower() for head, _ in server.requests)
