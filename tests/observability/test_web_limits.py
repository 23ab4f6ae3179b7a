"""What a worker's web port takes, over real sockets."""

import asyncio
import resource
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from types import SimpleNamespace

import pytest
from aiohttp import ClientSession, web

from streams.observability import web_limits
from streams.observability.web_limits import (
    HEADERS,
    BoundedServer,
    Pace,
    SharedRendering,
    is_answered_to,
    protect,
)
from streams.sandbox.lookup_service import LookupService
from tests.integration.steps import Make, act, reasons
from tests.integration.topics import action
from tests.timing import Clock

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half:"
WHOLE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HALF_BODY = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf"


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, int]]:
    """A protected server with a page at /, on a free port."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def broken(_: web.Request) -> web.Response:
        raise LookupError

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(32 << 20))

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/large", large)
    app.router.add_get("/broken", broken)
    server = SimpleNamespace(web_app=app)
    protect(server, {"streams.example.org"})
    await server._runner.setup()
    await web.TCPSite(server._runner, "127.0.0.1", 0).start()
    try:
        yield server._runner.addresses[0][:2]
    finally:
        await server._runner.cleanup()


async def status_of(address: tuple[str, int], path: str = "/", **headers: str) -> int:
    url = "http://{}:{}{}".format(*address, path)
    async with ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.headers.items() >= HEADERS.items()
        return response.status


async def ended(connection: socket.socket) -> bool:
    """Wait until the server has ended a connection; what it answered before does not count."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        try:
            while await loop.sock_recv(connection, 1_000):
                pass
        except ConnectionResetError:
            pass
    return True


async def answers(connection: socket.socket) -> bytes:
    """Return all that the server sends until it ends a connection."""
    loop, received = asyncio.get_running_loop(), b""
    async with asyncio.timeout(30):
        with suppress(ConnectionResetError):
            while part := await loop.sock_recv(connection, 100_000):
                received += part
    return received


async def opened(address: tuple[str, int], sent: bytes, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection from this address and send this."""
    connection = socket.socket()
    connection.bind((source, 0))
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, address)
    await loop.sock_sendall(connection, sent)
    return connection


@pytest.mark.parametrize("sent", [b"", HALF, HALF_BODY], ids=["nothing", "half a head", "half a body"])
async def test_a_connection_has_only_so_much_time(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """One that sends nothing, half a head or half a body is ended."""
    monkeypatch.setattr(web_limits, "CONNECTION_SECONDS", 0.5)
    async with serving() as address:
        with await opened(address, sent) as connection:
            assert await ended(connection)


async def test_of_too_many_connections_the_oldest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are open and send half a request, a whole one is answered; the first ones are ended."""
    async with serving() as address:
        with ExitStack() as held:
            halves = [held.enter_context(await opened(address, HALF)) for _ in range(300)]
            assert await status_of(address) == 200
            for connection in halves[: 300 - web_limits.CONNECTIONS]:
                assert await ended(connection)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on its loopback interface"
)
async def test_a_flood_from_one_address_ends_no_connection_from_another() -> None:
    """The first connection of all is the only one from its address, and outlives 300 from elsewhere."""
    async with serving() as address:
        with ExitStack() as held:
            first = held.enter_context(await opened(address, WHOLE[:-2]))
            halves = [held.enter_context(await opened(address, HALF, "127.0.0.2")) for _ in range(300)]
            assert await ended(halves[300 - web_limits.CONNECTIONS])
            await asyncio.get_running_loop().sock_sendall(first, WHOLE[-2:])
            assert (await answers(first)).count(b"HTTP/1.1 200 OK") == 1


async def test_too_many_connections_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log has one warning, however many more connections come in the same minute."""
    async with serving() as address:
        with ExitStack() as held:
            for _ in range(web_limits.CONNECTIONS + 50):
                held.enter_context(await opened(address, HALF))
            assert await status_of(address) == 200
    assert [getattr(record, "event", "") for record in caplog.records] == ["web_port_full"]


async def test_a_client_that_reads_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer does not fit into the buffers between; at the end of its time it is dropped unread."""
    monkeypatch.setattr(web_limits, "CONNECTION_SECONDS", 0.5)
    lost, forget = asyncio.Event(), BoundedServer.connection_lost
    monkeypatch.setattr(BoundedServer, "connection_lost", lambda *arguments: (forget(*arguments), lost.set()))
    async with serving() as address:
        with await opened(address, WHOLE.replace(b" / ", b" /large ")):
            async with asyncio.timeout(30):
                await lost.wait()


async def test_of_requests_on_one_connection_only_the_first_is_answered() -> None:
    """However many follow it at once, in one piece or byte by byte."""
    async with serving() as address:
        with await opened(address, WHOLE * 1_000) as connection:
            assert (await answers(connection)).count(b"HTTP/1.1 200 OK") == 1
        with await opened(address, b"") as connection:
            for at in range(len(WHOLE)):
                await asyncio.get_running_loop().sock_sendall(connection, WHOLE[at : at + 1])
            assert (await answers(connection)).count(b"HTTP/1.1 200 OK") == 1


CHUNKED = b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Length: 20000000\r\n\r\n") + bytes(20_000_000),
        CHUNKED + b"1\r\nx\r\n" * 1_000_000,
        WHOLE * 100_000,
        WHOLE[:-2] + b"".join(b"a%d: b\r\n" % number for number in range(100_000)),
        WHOLE[:-2] + b"a: " + b"b" * 10_000_000,
    ],
    ids=["a body", "a body in tiny chunks", "pipelined requests", "many headers", "a long header"],
)
async def test_what_is_too_much_for_a_request_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """The connection ends long before all of it is sent, and the parser sees no more than its bound."""
    seen: list[int] = []
    feed = web.RequestHandler.data_received
    monkeypatch.setattr(
        web.RequestHandler, "data_received", lambda self, data: (seen.append(len(data)), feed(self, data))[1]
    )
    async with serving() as address:
        # Reset while it is still being sent, or after that.
        with suppress(ConnectionResetError, BrokenPipeError), await opened(address, sent) as connection:
            assert await ended(connection)
        assert await status_of(address) == 200
    assert sum(seen) < 2 * web_limits.REQUEST_BYTES


async def test_a_request_with_a_body_that_fits_is_answered_unread() -> None:
    """GET with a body of some bytes; the page needs none of them."""
    async with serving() as address:
        request = WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\nbody")
        with await opened(address, request) as connection:
            assert (await answers(connection)).startswith(b"HTTP/1.1 200 OK")


async def test_who_has_gone_takes_no_turn() -> None:
    """After 900 requests whose clients left at once, half a minute's worth of turns, one is answered soon."""
    async with serving() as address, asyncio.timeout(10):
        for _ in range(900):
            with await opened(address, WHOLE):
                pass
        assert await status_of(address) == 200


def test_connections_take_an_eighth_of_the_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a low limit there are fewer; Kafka, lookups and the store need the others."""
    for files, most in ((256, 32), (1_024, 128), (1 << 20, 128), (resource.RLIM_INFINITY, 128), (16, 8)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert web_limits.most_connections() == most


@pytest.mark.parametrize("path", ["/", "/nothing", "/broken"])
async def test_every_answer_is_locked_down(path: str) -> None:
    """An error too has the headers that keep a browser from using it, and is the connection's last."""
    async with serving() as address:
        expected = {"/": 200, "/nothing": 404, "/broken": 500}
        assert await status_of(address, path) == expected[path]
        assert await status_of(address, path, Host="evil.example") == 421
        with await opened(address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as connection:
            assert await ended(connection)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "127.0.0.1",
        "10.0.0.1:6066",
        "[::1]:6066",
        "[fd00::1]",
        "localhost:6066",
        "worker-1:6066",
        "confirmation-streams-0.confirmation-streams.ns.svc",
        "confirmation-streams.ns.svc.cluster.local:6066",
        "ip-10-0-0-1.eu-west-1.compute.internal",
        "host.docker.internal",
        "Streams.Example.org:443",
        "streams.example.org.",
    ],
)
def test_probes_and_prometheus_are_answered(host: str | None) -> None:
    """By an address, by names that public DNS does not have, by those of the settings, and without any."""
    assert is_answered_to(host, {"streams.example.org"})


@pytest.mark.parametrize(
    "host", ["evil.example", "streams.example.org.evil.example", "1.evil.example", "[", "a.b]"]
)
def test_a_name_that_a_stranger_can_own_is_not_answered(host: str) -> None:
    """A page of theirs would otherwise read ours, by DNS rebinding."""
    assert not is_answered_to(host, {"streams.example.org"})


class FakeTime(Clock):
    """Goes on by as long as somebody sleeps, and notes how long that was."""

    def __init__(self) -> None:
        super().__init__(1_000.0)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_requests_take_turns() -> None:
    """After a quiet time some are answered at once; the others wait, each for its turn at an even pace."""
    clock = FakeTime()
    pace = Pace(200.0, clock, clock.sleep)
    for _ in range(221):
        await pace.turn()
    assert clock.slept == pytest.approx([1 / 200.0] * 200)
    clock.now += 10
    await pace.turn()
    assert len(clock.slept) == 200


def test_what_is_rendered_is_shared_for_a_second() -> None:
    """However many ask, it is made at most once a second, and only if somebody asks."""
    clock, made = FakeTime(), 0

    def render() -> bytes:
        nonlocal made
        made += 1
        return b"%d" % made

    rendering = SharedRendering(render, clock)
    assert made == 0
    assert {rendering.text() for _ in range(16)} == {b"1"}
    clock.now += 0.99
    assert rendering.text() == b"1"
    clock.now += 0.02
    assert rendering.text() == b"2"


@pytest.mark.kafka
async def test_a_flood_of_half_requests_stops_neither_probes_nor_lookups(installation: Make) -> None:
    """With more half requests than the process may have files, it is ready and its lookups are answered."""
    with LookupService() as lookup:
        place = installation(lookup_url=lookup.url)
        worker = place.worker()
        worker.start(["bash", "-c", 'ulimit -n 512; exec "$0" -m streams worker', sys.executable])
        await asyncio.to_thread(worker.wait_ready)
        with ExitStack() as held:
            for _ in range(600):
                held.enter_context(await opened(("127.0.0.1", worker.port), HALF))
            for page in ("/livez", "/readyz", "/metrics"):
                assert (await asyncio.to_thread(worker.get, page))[0] == 200
            await act(place, *map(action, range(20)))
            assert {reason.partition("_")[0] for reason in (await reasons(place, 20)).values()} == {"lookup"}
            assert worker.counter("confirmation_lookups_total", outcome="error") == 0
