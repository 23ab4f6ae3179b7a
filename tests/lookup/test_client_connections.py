"""The connections behind the lookups: making them, keeping them, and whose answer comes out of them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
import trustme

from streams.lookup.client import Endpoint, LookupClient, NotFound, Reply, ServiceHealth
from streams.messages.decode import Cause, Outcome
from streams.sandbox.ports import free_port
from tests.lookup.asking import AMPLE, DEADLINE, QUESTION, asking
from tests.lookup.faulty_server import (
    NOT_SUBSCRIBED,
    SUBSCRIBED,
    Behaviour,
    Call,
    FaultyServer,
    drops,
    hang,
    healthy,
    resets,
    response,
    says,
    then_drop,
    then_hang,
    then_reset,
)
from tests.lookup.leftovers import nothing_left, open_files
from tests.timing import in_time, until


def outcome_of(reply: Reply) -> tuple[Outcome, Cause | None, ServiceHealth]:
    return reply.outcome.outcome, reply.outcome.cause, reply.health


YES = (Outcome.EXISTING, None, ServiceHealth.HEALTHY)
NO = (Outcome.NON_EXISTING, None, ServiceHealth.HEALTHY)


def failure(cause: Cause) -> tuple[Outcome, Cause | None, ServiceHealth]:
    return (Outcome.ERROR, cause, ServiceHealth.FAILURE)


def time_for(cause: Cause | None) -> float:
    """Seconds to ask within, where that is what comes of it."""
    return DEADLINE if cause is Cause.TIMEOUT else AMPLE


# --- Getting through to it ---


async def test_a_refused_port_is_a_connect_failure_until_it_listens(caplog: pytest.LogCaptureFixture) -> None:
    """A service that is down is named so, and asked again with success once it is up."""
    port = free_port()
    endpoint = Endpoint(f"http://127.0.0.1:{port}/", deadline=AMPLE)
    async with nothing_left(caplog), aclosing(LookupClient(endpoint)) as client:
        async with in_time(DEADLINE):
            assert outcome_of(await client.ask(QUESTION)) == failure(Cause.CONNECT)
        async with FaultyServer(port=port).listening():
            assert outcome_of(await client.ask(QUESTION)) == YES


async def test_an_unreachable_network_is_a_connect_failure(caplog: pytest.LogCaptureFixture) -> None:
    """No route is named like no listener."""
    client = LookupClient(Endpoint("http://255.255.255.255/"))
    async with nothing_left(caplog), aclosing(client), in_time(DEADLINE):
        assert outcome_of(await client.ask(QUESTION)) == failure(Cause.CONNECT)


async def test_a_port_that_drops_every_syn_is_a_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is never made ends with the deadline, and its socket with it."""
    async with nothing_left(caplog):
        with socket.socket() as deaf, contextlib.ExitStack() as crowd:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            while True:  # fill the accept queue until the kernel answers no more
                one = crowd.enter_context(socket.socket())
                one.settimeout(0.1)
                try:
                    one.connect(deaf.getsockname())
                except TimeoutError:
                    break
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
            files = open_files()
            async with aclosing(LookupClient(Endpoint(url, deadline=DEADLINE))) as client:
                async with in_time(DEADLINE):
                    assert outcome_of(await client.ask(QUESTION)) == failure(Cause.TIMEOUT)
                await until(lambda: open_files() == files)
                assert open_files() == files


# Name servers are mocked: no real one can be made to fail in these ways on a machine that has no network.


TEST = "http://lookup.test:{port}/"


def resolving(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """Let ``lookup.test`` resolve to what ``answer`` returns, or raise what it raises."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return real(answer() if host == "lookup.test" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_an_unknown_host_is_a_connect_failure_until_it_is_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that does not resolve is named so, and is looked up again for the next question."""

    def unknown() -> str:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with nothing_left(caplog), asking(url=TEST, deadline=AMPLE) as (_, client):
        resolving(monkeypatch, unknown)
        async with in_time(DEADLINE):
            assert outcome_of(await client.ask(QUESTION)) == failure(Cause.CONNECT)
        monkeypatch.undo()
        resolving(monkeypatch, lambda: "127.0.0.1")
        assert outcome_of(await client.ask(QUESTION)) == YES


async def test_a_name_server_that_hangs_costs_one_task_and_one_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Many questions wait for one resolution, each to its deadline, and its answer serves the next ones."""
    release = threading.Event()
    resolving(monkeypatch, lambda: "127.0.0.1" if release.wait(10) else "")
    async with nothing_left(caplog), asking(url=TEST, deadline=AMPLE) as (_, client):
        threads, tasks = threading.active_count(), len(asyncio.all_tasks())
        async with in_time(DEADLINE):
            replies = await asyncio.gather(*(client.ask(QUESTION, within=DEADLINE) for _ in range(50)))
        assert Counter(map(outcome_of, replies)) == {failure(Cause.TIMEOUT): 50}
        assert threading.active_count() == threads + 1
        assert len(asyncio.all_tasks()) == tasks + 1
        release.set()
        await until(lambda: threading.active_count() == threads)
        assert outcome_of(await client.ask(QUESTION)) == YES


async def test_hanging_name_servers_of_many_organisations_delay_nobody_elses_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With more hanging resolutions than asyncio's pool has threads, somebody else's name still resolves."""
    release = threading.Event()
    resolving(monkeypatch, lambda: "127.0.0.1" if release.wait(10) else "")
    async with nothing_left(caplog), FaultyServer().listening() as server:
        dead = Endpoint(f"http://lookup.test:{server.port}/")
        async with contextlib.AsyncExitStack() as organisations:
            for _ in range(40):
                client = await organisations.enter_async_context(aclosing(LookupClient(dead)))
                assert (await client.ask(QUESTION, within=0.001)).outcome.cause is Cause.TIMEOUT
            alive = Endpoint(f"http://localhost:{server.port}/", deadline=AMPLE)
            async with aclosing(LookupClient(alive)) as client:
                assert outcome_of(await client.ask(QUESTION)) == YES
            release.set()


async def test_closing_does_not_wait_for_a_name_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client whose name server hangs is closed at once, and its late answer is dropped."""
    release = threading.Event()
    resolving(monkeypatch, lambda: "127.0.0.1" if release.wait(10) else "")
    async with nothing_left(caplog):
        client = LookupClient(Endpoint("http://lookup.test/", deadline=0.05))
        assert outcome_of(await client.ask(QUESTION)) == failure(Cause.TIMEOUT)
        async with in_time(0.0):
            await client.aclose()
        release.set()


async def test_a_host_that_can_be_none_is_a_connect_failure(caplog: pytest.LogCaptureFixture) -> None:
    """The UnicodeError of an impossible host name is caught and named."""
    async with nothing_left(caplog), aclosing(LookupClient(Endpoint("http://a..b/"))) as client:
        assert outcome_of(await client.ask(QUESTION)) == failure(Cause.CONNECT)


@pytest.mark.parametrize(
    ("greeting", "cause"),
    [
        (drops, Cause.PROTOCOL),
        (resets, Cause.PROTOCOL),
        (hang, Cause.TIMEOUT),
        (says(b"220 hello\r\n"), Cause.PROTOCOL),
    ],
    ids=["drops", "resets", "hangs", "speaks_first"],
)
async def test_a_server_that_does_not_wait_for_the_question(
    greeting: Behaviour, cause: Cause, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that goes wrong before the question is read is a failure like the others."""
    async with nothing_left(caplog), asking(greeting=greeting, deadline=AMPLE) as (server, client):
        async with in_time(DEADLINE):
            assert outcome_of(await client.ask(QUESTION, within=time_for(cause))) == failure(cause)
        server.greeting = None
        assert outcome_of(await client.ask(QUESTION)) == YES


# --- TLS ---

AUTHORITY = trustme.CA()
TRUST = ssl.create_default_context()
AUTHORITY.configure_trust(TRUST)


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


GOOD = tls(AUTHORITY.issue_cert("127.0.0.1"))
LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
BAD_TLS = {
    "wrong host": tls(AUTHORITY.issue_cert("lookup.example.org")),
    "expired": tls(
        AUTHORITY.issue_cert(
            "127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + datetime.timedelta(days=90)
        )
    ),
    "unknown authority": tls(trustme.CA().issue_cert("127.0.0.1")),
    "plain HTTP on the TLS port": None,
}


@pytest.mark.parametrize("name", BAD_TLS)
async def test_a_tls_failure_is_named_and_nothing_is_sent(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No question goes to a server whose certificate is not its own, and the next good one is asked."""
    async with nothing_left(caplog):
        server = FaultyServer(
            tls=BAD_TLS[name], greeting=says(b"HTTP/1.1 400 Plain\r\n\r\n") if BAD_TLS[name] is None else None
        )
        async with server.listening():
            client = LookupClient(
                Endpoint(f"https://127.0.0.1:{server.port}/", deadline=AMPLE), ssl_context=TRUST
            )
            async with in_time(DEADLINE):
                assert outcome_of(await client.ask(QUESTION)) == failure(Cause.TLS)
            assert server.requests == []
        async with aclosing(client), FaultyServer(tls=GOOD, port=server.port).listening():
            assert outcome_of(await client.ask(QUESTION)) == YES


async def test_without_a_context_the_system_decides_whom_to_trust() -> None:
    """A certificate of an authority that the system does not know is refused by default."""
    async with asking(tls=GOOD) as (server, client):
        assert outcome_of(await client.ask(QUESTION)) == failure(Cause.TLS)
        assert server.requests == []


async def test_a_tls_handshake_that_hangs_is_a_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """A server that accepts and never shakes hands holds neither the question nor the socket."""
    url = "https://127.0.0.1:{port}/"
    async with nothing_left(caplog), asking(greeting=hang, url=url, deadline=DEADLINE) as (server, client):
        async with in_time(DEADLINE):
            assert outcome_of(await client.ask(QUESTION)) == failure(Cause.TIMEOUT)
        await until(lambda: server.open_now == 0)
        assert server.open_now == 0


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (healthy(), YES),
        (hang, failure(Cause.TIMEOUT)),
        (then_hang(response()[:-3]), failure(Cause.TIMEOUT)),
        (drops, failure(Cause.PROTOCOL)),
        (resets, failure(Cause.PROTOCOL)),
        (then_drop(response()[:-3]), failure(Cause.PROTOCOL)),
    ],
    ids=["healthy", "hang", "hang_within_body", "drop", "reset", "drop_within_body"],
)
async def test_faults_over_tls_leave_no_socket_waiting_for_a_goodbye(
    behaviour: Behaviour,
    expected: tuple[Outcome, Cause | None, ServiceHealth],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same faults over TLS are named alike, in time, and no socket of theirs stays open."""
    service = asking(behaviour, tls=GOOD, trusts=TRUST, deadline=AMPLE)
    async with nothing_left(caplog), service as (server, client):
        async with in_time(DEADLINE):
            assert outcome_of(await client.ask(QUESTION, within=time_for(expected[1]))) == expected
        server.behaviour = healthy()
        assert outcome_of(await client.ask(QUESTION)) == YES
        await until(lambda: server.open_now == 1)
        assert server.open_now == 1


async def test_a_tls_peer_that_never_says_goodbye_does_not_hold_the_socket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The socket of a lookup that timed out is closed even if the peer does not answer the close_notify."""
    released = asyncio.Event()

    async def deaf(call: Call) -> None:
        call.writer.transport.pause_reading()
        await released.wait()
        call.writer.transport.abort()

    service = asking(deaf, tls=GOOD, trusts=TRUST, deadline=DEADLINE)
    async with nothing_left(caplog), service as (server, client):
        files = open_files()
        assert outcome_of(await client.ask(QUESTION)) == failure(Cause.TIMEOUT)
        await until(lambda: open_files() == files + 1)
        assert open_files() == files + 1  # the server's end of it
        released.set()
        await until(lambda: server.open_now == 0)


# --- Keeping connections ---


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Serve the first request with the first behaviour, and so on; the last one serves the rest."""
    left = list(behaviours)

    async def behave(call: Call) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(call)

    return behave


async def test_questions_one_after_another_share_a_connection() -> None:
    """Keep-alive is used."""
    async with asking() as (server, client):
        for _ in range(10):
            assert outcome_of(await client.ask(QUESTION)) == YES
        assert (server.connections, len(server.requests)) == (1, 10)


@pytest.mark.parametrize("ending", [drops, resets])
async def test_a_kept_connection_that_ends_unanswered_is_tried_once_more(
    ending: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that closes on the next request costs a second connection, not the right letter."""
    behaviour = in_turn(healthy(), ending, healthy(NOT_SUBSCRIBED))
    async with nothing_left(caplog), asking(behaviour, deadline=AMPLE) as (server, client):
        assert outcome_of(await client.ask(QUESTION)) == YES
        assert outcome_of(await client.ask(QUESTION)) == NO
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_the_second_attempt_is_the_last(caplog: pytest.LogCaptureFixture) -> None:
    """A server that closes on every request sees exactly two attempts at a question."""
    async with nothing_left(caplog), asking(in_turn(healthy(), drops), deadline=AMPLE) as (server, client):
        await client.ask(QUESTION)
        assert outcome_of(await client.ask(QUESTION)) == failure(Cause.PROTOCOL)
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_the_second_attempt_is_on_a_new_connection() -> None:
    """Where one kept connection has died the others are not trusted: after a restart all of them are dead."""
    together = asyncio.Barrier(5)

    async def five_at_once(call: Call) -> None:
        await together.wait()
        await healthy()(call)

    async with asking(five_at_once) as (server, client):
        await asyncio.gather(*(client.ask(QUESTION) for _ in range(5)))
        assert server.connections == 5
        server.behaviour = in_turn(drops, healthy())
        assert outcome_of(await client.ask(QUESTION)) == YES
        assert (server.connections, len(server.requests)) == (6, 7)


async def test_the_second_attempt_has_what_is_left_of_the_deadline() -> None:
    """Two attempts take no longer than one."""
    deadline = 1.0

    async def late_drop(call: Call) -> None:
        await asyncio.sleep(deadline * 0.4)

    async with asking(in_turn(healthy(), late_drop, hang), deadline=AMPLE) as (server, client):
        await client.ask(QUESTION)
        async with in_time(deadline):
            assert outcome_of(await client.ask(QUESTION, within=deadline)) == failure(Cause.TIMEOUT)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "ending",
    [
        then_drop(b"H"),
        then_reset(b"HTTP/1.1 200"),
        then_drop(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        says(b"NOPE\r\n\r\n"),
    ],
    ids=["one_byte", "status_line", "early_hints", "garbage"],
)
async def test_once_the_server_has_said_anything_nothing_is_sent_again(ending: Behaviour) -> None:
    """A kept connection that ends within an answer is a failure: the service has seen the question."""
    async with asking(in_turn(healthy(), ending), deadline=AMPLE) as (server, client):
        await client.ask(QUESTION)
        assert outcome_of(await client.ask(QUESTION)) == failure(Cause.PROTOCOL)
        assert len(server.requests) == 2


async def test_a_connection_closed_while_idle_is_not_even_tried() -> None:
    """A close that has arrived is noticed before the question is sent."""
    async with asking(says(response())) as (server, client):  # answers as if to keep, and closes
        for _ in range(3):
            assert outcome_of(await client.ask(QUESTION)) == YES
            await until(lambda: server.open_now == 0)
        assert (server.connections, len(server.requests)) == (3, 3)


# --- Whose answer it is ---


async def test_a_late_answer_is_never_the_next_questions() -> None:
    """After a timeout the connection is gone, and with it the answer that was on its way."""
    came = asyncio.Event()

    async def late_yes(call: Call) -> None:
        await asyncio.sleep(DEADLINE * 1.2)
        try:
            await healthy(SUBSCRIBED)(call)
        finally:
            came.set()

    behaviour = in_turn(healthy(NOT_SUBSCRIBED), late_yes, healthy(NOT_SUBSCRIBED))
    async with asking(behaviour, deadline=AMPLE) as (_, client):
        assert outcome_of(await client.ask(QUESTION)) == NO
        assert outcome_of(await client.ask(QUESTION, within=DEADLINE)) == failure(Cause.TIMEOUT)
        assert outcome_of(await client.ask(QUESTION)) == NO
        await came.wait()
        for _ in range(2):
            assert outcome_of(await client.ask(QUESTION)) == NO


STRAY_FIRST, STRAY = response(NOT_SUBSCRIBED + b" " * 20), response(SUBSCRIBED)


@pytest.mark.parametrize(
    ("parts", "pause"),
    [
        ([STRAY_FIRST + STRAY], 0),
        ([STRAY_FIRST[:-5], STRAY_FIRST[-5:] + STRAY], 0),
        ([STRAY_FIRST[:-5], STRAY_FIRST[-5:] + STRAY[:9], STRAY[9:]], 0.02),
        ([STRAY_FIRST, STRAY], 0.02),
        ([STRAY_FIRST, STRAY], 0),
    ],
    ids=["in_one", "with_the_end_of_the_body", "cut_in_two", "read_while_idle", "still_in_the_kernel"],
)
async def test_an_answer_that_nobody_asked_for_is_nobodys(parts: list[bytes], pause: float) -> None:
    """A second answer to one question is not taken for the answer to the next person's."""
    sent = asyncio.Event()

    async def twice(call: Call) -> None:
        for part in parts[:-1]:
            await call.send(part)
            await asyncio.sleep(0.02)
        await call.send(parts[-1])
        sent.set()
        call.keep = True

    async with asking(twice, deadline=AMPLE) as (server, client):
        for _ in range(3):
            sent.clear()
            assert outcome_of(await client.ask(QUESTION)) == NO
            await sent.wait()  # wakes before the loop has looked at the client's socket
            if pause:
                await asyncio.sleep(pause)
        assert server.connections == 3


def finished_with(sent: bytes, certificate: trustme.LeafCert) -> Callable[[bytes], bytes]:
    """A TLS 1.2 server that sends this in one piece with the end of its handshake, before any question."""
    context = tls(certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)

    def answer(received: bytes) -> bytes:
        incoming.write(received)
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
            server.write(sent)
        return outgoing.read()

    return answer


async def answer_on_accept(
    listener: socket.socket, sent: bytes, certificate: trustme.LeafCert | None
) -> None:
    """Accept one connection, and send this before a question can come."""
    while True:  # at each turn of the loop: the client takes several between connecting and sending
        try:
            peer, _ = listener.accept()
            break
        except BlockingIOError:
            await asyncio.sleep(0)
    with peer:
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        if certificate is None:
            peer.send(sent)
        else:
            answer = finished_with(sent, certificate)
            for _ in range(2):  # the two flights of a client's handshake
                await loop.sock_sendall(peer, answer(await loop.sock_recv(peer, 65_536)))
        while await loop.sock_recv(peer, 65_536):
            pass


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "sent",
    [
        response(SUBSCRIBED),
        response(NOT_SUBSCRIBED),
        response(status=b"404 Not Found"),
        response(SUBSCRIBED)[:20],
        b"220 smtp.example.org ESMTP\r\n",
    ],
    ids=["subscribed", "not_subscribed", "not_found", "the_beginning_of_one", "greeting"],
)
async def test_an_answer_before_the_question_is_nobodys_on_a_fresh_connection_either(
    sent: bytes, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole 200 that is sent on accept, to whoever connects, is not believed; nor is anything else."""
    certificate = AUTHORITY.issue_cert("127.0.0.1") if scheme == "https" else None
    async with nothing_left(caplog):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
            endpoint = Endpoint(url, deadline=AMPLE, on_not_found=NotFound.NOT_SUBSCRIBED)
            async with aclosing(LookupClient(endpoint, ssl_context=TRUST)) as client:
                serving = asyncio.create_task(answer_on_accept(listener, sent, certificate))
                reply = await client.ask(QUESTION)
                assert outcome_of(reply) == failure(Cause.PROTOCOL)
                await serving


async def test_what_tls_itself_sends_before_the_question_is_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The session tickets of TLS 1.3 come unasked on every fresh connection, and refuse nobody."""
    service = asking(tls=GOOD, trusts=TRUST, deadline=AMPLE)
    async with nothing_left(caplog), service as (server, client):
        server.behaviour = says(response())
        for _ in range(20):
            assert outcome_of(await client.ask(QUESTION)) == YES
        assert server.connections == 20


# --- Where it goes, and what goes with it ---


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (b"301 Moved", b"/lookup"),
        (b"302 Found", b"http://127.0.0.1:%d/elsewhere"),
        (b"303 See Other", b"http://127.0.0.1:%d/elsewhere"),
        (b"307 Temporary Redirect", b"http://127.0.0.1:%d/elsewhere"),
        (b"308 Permanent Redirect", b"http://127.0.0.1:%d/elsewhere"),
        (b"302 Found", b"http://[::bad/"),
        (b"302 Found", b"\xff\xfe"),
        (b"302 Found", b""),
        (b"302 Found", b"foo://a..b:99999/"),
    ],
)
async def test_a_redirect_is_a_failure_and_goes_nowhere(
    status: bytes, location: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's address follows a Location, wherever it points and however broken it is."""
    async with (
        nothing_left(caplog),
        FaultyServer().listening() as other,
        FaultyServer().listening() as server,
    ):
        target = location % other.port if b"%d" in location else location
        server.behaviour = says(response(status=status, headers=(b"Location: " + target,)))
        async with aclosing(LookupClient(Endpoint(server.url))) as client:
            assert outcome_of(await client.ask(QUESTION)) == failure(Cause.REDIRECT)
        assert len(server.requests) == 1
        assert other.connections == 0


async def test_proxies_in_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables baked into an image neither reroute a lookup nor break the client."""
    async with FaultyServer().listening() as proxy, FaultyServer().listening() as server:
        for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(variable, proxy.url)
        monkeypatch.setenv("ALL_PROXY", "foo://x")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with aclosing(LookupClient(Endpoint(server.url))) as client:
            assert outcome_of(await client.ask(QUESTION)) == YES
        assert (proxy.connections, server.connections) == (0, 1)


async def test_a_cookie_is_never_sent_back(caplog: pytest.LogCaptureFixture) -> None:
    """A session cookie that one person's lookup was given does not go with the next person's."""
    cookies = (b"Set-Cookie: session=ECHO; Path=/", b"Set-Cookie: b@d=\x01ECHO", b"Set-Cookie: ;;;")
    giving = says(response(headers=cookies[:1]), keep=True)
    # A name, because aiohttp's jar takes no cookies from an address.
    async with nothing_left(caplog), asking(giving, url="http://localhost:{port}/") as (server, client):
        for _ in range(3):
            assert outcome_of(await client.ask(QUESTION)) == YES
        server.behaviour = says(response(headers=cookies[1:]), keep=True)
        await client.ask(QUESTION)
        await client.ask(QUESTION)
        assert not any(b"cookie" in head.lower() for head, _ in server.requests)


# --- Many at once, and giving up ---


async def _timed_out_wait() -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()


async def test_ten_thousand_questions_at_once_share_the_sockets(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of questions opens no more sockets than allowed, and all of them have ended by the deadline."""
    async with nothing_left(caplog), asking(deadline=AMPLE, connections=16) as (server, client):
        # What the machine can do at present: two seconds where it has nothing else to do.
        began = time.monotonic()
        await asyncio.gather(*(client.ask(QUESTION) for _ in range(500)))
        deadline = max(2.0, 8 * (time.monotonic() - began))
        server.requests.clear()
        began = time.monotonic()
        await asyncio.gather(*(_timed_out_wait() for _ in range(10_000)))
        ending = time.monotonic() - began  # what so many waits take here to begin and to be cancelled
        async with in_time(deadline, slack=0.25 + ending):
            replies = await asyncio.gather(*(client.ask(QUESTION, within=deadline) for _ in range(10_000)))
        counts = Counter(map(outcome_of, replies))
        assert counts[YES] > 500
        never_asked = (Outcome.ERROR, Cause.SATURATED, ServiceHealth.NEUTRAL)
        assert set(counts) <= {YES, never_asked, failure(Cause.TIMEOUT)}
        assert server.most_open <= 16
        assert len(server.requests) <= 10_000 - counts[never_asked]
        assert outcome_of(await client.ask(QUESTION)) == YES


async def test_waiting_for_a_turn_that_never_comes_is_not_the_services_failure() -> None:
    """A question that found all connections taken by hanging ones was never asked."""
    async with asking(hang, connections=2, deadline=1.0) as (server, client):
        taken = [asyncio.create_task(client.ask(QUESTION)) for _ in range(2)]
        await until(lambda: len(server.requests) == 2)
        async with in_time(0.05):
            replies = await asyncio.gather(*(client.ask(QUESTION, within=0.05) for _ in range(5)))
        assert set(map(outcome_of, replies)) == {(Outcome.ERROR, Cause.SATURATED, ServiceHealth.NEUTRAL)}
        assert set(map(outcome_of, await asyncio.gather(*taken))) == {failure(Cause.TIMEOUT)}
        assert server.most_open == 2


@pytest.mark.parametrize(
    ("scheme", "greeting", "behaviour"),
    [
        ("http", None, hang),
        ("http", None, then_hang(response()[:-3])),
        ("https", hang, hang),
    ],
    ids=["before_the_answer", "within_the_body", "within_the_handshake"],
)
async def test_a_cancelled_question_raises_and_leaves_nothing(
    scheme: str, greeting: Behaviour | None, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    """Cancellation comes through as such, at once, and takes the connection with it."""
    service = asking(behaviour, greeting=greeting, url=scheme + "://127.0.0.1:{port}/")
    async with nothing_left(caplog), service as (server, client):
        task = asyncio.create_task(client.ask(QUESTION))
        await until(lambda: bool(server.open_now and (server.requests or scheme == "https")))
        await asyncio.sleep(0.01)  # into the headers, the body or the handshake
        task.cancel()
        async with in_time(0.0):
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: server.open_now == 0)
        assert server.open_now == 0


async def test_a_question_cancelled_before_its_turn_takes_none() -> None:
    """Cancelling one that waits for a connection leaves the turn to the next."""
    async with asking(hang, connections=1) as (server, client):
        first = asyncio.create_task(client.ask(QUESTION))
        await server.asked.wait()
        waiting = asyncio.create_task(client.ask(QUESTION))
        await asyncio.sleep(0)
        for task in (waiting, first):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        server.behaviour = healthy()
        assert outcome_of(await client.ask(QUESTION)) == YES
        assert len(server.requests) == 2


async def test_an_outer_timeout_is_the_callers_and_not_a_reply() -> None:
    """``ask`` does not swallow a time limit that somebody put around it."""
    async with asking(hang) as (_, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.ask(QUESTION)


async def test_closing_ends_the_questions_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever still waits when the client is closed gets a reply, at once; so does whoever comes later."""
    async with nothing_left(caplog), FaultyServer(hang).listening() as server:
        client = LookupClient(Endpoint(server.url, connections=2))
        tasks = [asyncio.create_task(client.ask(QUESTION)) for _ in range(4)]
        await until(lambda: len(server.requests) == 2)
        async with in_time(0.0):
            await client.aclose()
            replies = await asyncio.gather(*tasks)
        assert {reply.outcome.outcome for reply in replies} == {Outcome.ERROR}
        assert (await client.ask(QUESTION)).outcome.outcome is Outcome.ERROR
        await client.aclose()
