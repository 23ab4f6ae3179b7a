"""Every way in which a lookup service can fail: named, within the deadline, and without a trace."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest

from streams.lookup.client import (
    LONGEST_RETRY_AFTER,
    EmptyMeans,
    Endpoint,
    LookupClient,
    NotFound,
    Question,
    ServiceHealth,
    basic,
    retry_after,
)
from streams.messages.decode import Cause, LookupOutcome, Outcome
from tests.lookup.asking import AMPLE, DEADLINE, QUESTION, asking
from tests.lookup.faulty_server import (
    SUBSCRIBED,
    Behaviour,
    drip,
    drops,
    flood,
    hang,
    healthy,
    resets,
    response,
    says,
    then_drop,
    then_hang,
    then_reset,
)
from tests.lookup.leftovers import nothing_left, watching_strain
from tests.timing import in_time, until

FAILURE, NEUTRAL, HEALTHY = ServiceHealth.FAILURE, ServiceHealth.NEUTRAL, ServiceHealth.HEALTHY
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ECHO = b"ECHO ana@example.org c0ntact-ref"  # what a service says may hold anything


@dataclass
class Fault:
    """One row of the table: what the service does, and what has to come of it."""

    name: str
    behaviour: Behaviour
    cause: Cause
    health: ServiceHealth = FAILURE
    retry_after: float | None = None


def status(line: bytes, health: ServiceHealth = FAILURE, cause: Cause = Cause.HTTP_STATUS) -> Fault:
    return Fault(f"status {line.decode()}", says(response(ECHO, status=line)), cause, health)


def later(line: bytes, seconds: int) -> Fault:
    behaviour = says(response(status=line, headers=(b"Retry-After: %d" % seconds,)))
    return Fault(f"{line.decode()} in {seconds}", behaviour, Cause.HTTP_STATUS, retry_after=float(seconds))


def ends(name: str, behaviour: Behaviour) -> Fault:
    return Fault(name, behaviour, Cause.PROTOCOL)


def large(name: str, prefix: bytes, block: bytes) -> Fault:
    return Fault(f"large {name}", flood(prefix, block), Cause.TOO_LARGE)


def body(name: str, sent: bytes, cause: Cause = Cause.WRONG_DATA, *headers: bytes) -> Fault:
    return Fault(f"body {name}", says(response(sent, headers=headers)), cause)


def wire(name: str, *sent: bytes, cause: Cause = Cause.PROTOCOL) -> Fault:
    return Fault(f"wire {name}", says(*sent), cause)


def slow(name: str, behaviour: Behaviour) -> Fault:
    return Fault(f"slow {name}", behaviour, Cause.TIMEOUT)


def squeezed(plain: bytes) -> bytes:
    return gzip.compress(plain, mtime=0)


def raw_deflate(plain: bytes) -> bytes:
    squeezing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezing.compress(plain) + squeezing.flush()


GZIP, DEFLATE = b"Content-Encoding: gzip", b"Content-Encoding: deflate"

FAULTS = [
    # Time: one deadline for all of it.
    slow("silence", hang),
    slow("silence after the status line", then_hang(b"HTTP/1.1 200 OK\r\n")),
    slow("silence after the headers", then_hang(response(length=False)[:-2] + b"Content-Length: 99\r\n\r\n")),
    slow("silence within the body", then_hang(response(SUBSCRIBED)[:-5])),
    slow(
        "body byte by byte", drip(response(b"", headers=(b"Content-Length: 999",), length=False), b" ", 0.02)
    ),
    slow("body without end, byte by byte", drip(response(b"", length=False), b" ", 0.02)),
    slow("header byte by byte", drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.02)),
    slow("103 for ever", drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.02)),
    slow("100 for ever", drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02)),
    slow("chunks without end", drip(CHUNKED, b"1\r\n \r\n", 0.02)),
    slow("last chunk missing", then_hang(CHUNKED, b"1a\r\n" + SUBSCRIBED + b"\r\n")),
    slow("content-length too long, connection open", then_hang(response(SUBSCRIBED + b"..")[:-2])),
    # The connection ends.
    ends("drop before the answer", drops),
    ends("reset before the answer", resets),
    ends("drop within the status line", then_drop(b"HTTP/1.1 2")),
    ends("drop within the headers", then_drop(b"HTTP/1.1 200 OK\r\nContent-Le")),
    ends("reset within the headers", then_reset(b"HTTP/1.1 200 OK\r\nContent-Le")),
    ends("drop after the headers", then_drop(response()[: -len(SUBSCRIBED)])),
    ends("reset after the headers", then_reset(response()[: -len(SUBSCRIBED)])),
    ends("drop within the body", then_drop(response()[:-4])),
    ends("drop within a chunk", then_drop(CHUNKED, b"1a\r\n" + SUBSCRIBED[:9])),
    ends("drop before the last chunk", then_drop(CHUNKED, b"1a\r\n" + SUBSCRIBED + b"\r\n")),
    ends("drop after 103", then_drop(b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    # Status.
    status(b"101 Switching Protocols"),
    Fault(
        "status 102 then 500",
        says(b"HTTP/1.1 102 Processing\r\n\r\n", response(status=b"500 x")),
        Cause.HTTP_STATUS,
    ),
    status(b"201 Created"),
    Fault("status 204", says(b"HTTP/1.1 204 No Content\r\n\r\n"), Cause.HTTP_STATUS),
    status(b"206 Partial Content"),
    Fault("status 304", says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), Cause.REDIRECT),
    status(b"300 Multiple Choices", cause=Cause.REDIRECT),
    status(b"400 Bad Request", NEUTRAL),
    status(b"401 Unauthorized"),
    status(b"403 Forbidden"),
    status(b"404 Not Found", NEUTRAL),
    status(b"408 Request Timeout"),
    status(b"418 I'm a teapot", NEUTRAL),
    status(b"429 Too Many Requests"),
    status(b"500 Internal Server Error"),
    status(b"502 Bad Gateway"),
    status(b"504 Gateway Timeout"),
    status(b"599 Whatever"),
    status(b"999 Whatever"),
    later(b"429 Too Many Requests", 7),
    later(b"503 Service Unavailable", 86_400),
    Fault(
        "status 500 with an endless body",
        flood(response(b"", status=b"500 x", length=False), b"x" * 10_000),
        Cause.HTTP_STATUS,
    ),
    # 200, and not an answer.
    body("empty", b"", Cause.NO_DATA),
    body("empty gzip", b"", Cause.NO_DATA, GZIP),
    Fault("body none at all", says(b"HTTP/1.1 200 OK\r\n\r\n"), Cause.NO_DATA),
    Fault("body chunked and empty", says(CHUNKED, b"0\r\n\r\n"), Cause.NO_DATA),
    body("null", b"null"),
    body("list", b"[]"),
    body("the word true for true", b'{"privacy":{"optIn":"true"}}'),
    body("1 for true", b'{"privacy":{"optIn":1}}'),
    body("list for true", b'{"privacy":{"optIn":[true]}}'),
    body("duplicate keys", b'{"privacy":{"optIn":true,"optIn":true}}'),
    body("string", b'"yes"'),
    body("number", b"1"),
    body("true", b"true"),
    body("truncated", SUBSCRIBED[:-2]),
    body("html", b"<html><body>We are <b>down</b>", Cause.WRONG_DATA, b"Content-Type: text/html"),
    body("trailing bytes", SUBSCRIBED + b"x"),
    body("two documents", SUBSCRIBED + SUBSCRIBED),
    body("NaN", b'{"privacy":{"optIn":NaN}}'),
    body("Infinity", b'{"privacy":{"optIn":Infinity}}'),
    body("10,000 levels", b"[" * 10_000 + b"]" * 10_000),
    body("10,000 levels within", b'{"privacy":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001),
    body("invalid UTF-8", b'{"privacy":{"optIn":true},"x":"\xff"}'),
    body("UTF-16", SUBSCRIBED.decode().encode("utf-16")),
    body("byte order mark", b"\xef\xbb\xbf" + SUBSCRIBED),
    body("gzip within gzip, declared once", squeezed(squeezed(SUBSCRIBED)), Cause.WRONG_DATA, GZIP),
    body("gzip undeclared", squeezed(SUBSCRIBED)),
    # Too much.
    body("over the cap by one", b" " * 65_511 + SUBSCRIBED, Cause.TOO_LARGE),
    large(
        "1 GB declared", response(b"", headers=(b"Content-Length: 1073741824",), length=False), b" " * 10_000
    ),
    large("without end", response(b"", length=False), b" " * 10_000),
    large("chunks without end", CHUNKED, b"2710\r\n" + b" " * 10_000 + b"\r\n"),
    large("chunks of one byte", CHUNKED, b"1\r\n \r\n" * 10_000),
    large("flood of 103", b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000),
    body("gzip over the cap", squeezed(b" " * 65_511 + SUBSCRIBED), Cause.TOO_LARGE, GZIP),
    body("deflate over the cap", zlib.compress(b" " * 65_511 + SUBSCRIBED), Cause.TOO_LARGE, DEFLATE),
    # Codings.
    body("gzip that is none", SUBSCRIBED, Cause.PROTOCOL, GZIP),
    body("gzip cut short", squeezed(SUBSCRIBED)[:-9], Cause.PROTOCOL, GZIP),
    body("gzip with a wrong checksum", squeezed(SUBSCRIBED)[:-8] + b"\0" * 8, Cause.PROTOCOL, GZIP),
    body("gzip with something after it", squeezed(SUBSCRIBED) + b"x", Cause.PROTOCOL, GZIP),
    body("gzip twice", squeezed(squeezed(SUBSCRIBED)), Cause.PROTOCOL, b"Content-Encoding: gzip, gzip"),
    body("gzip in two fields", squeezed(squeezed(SUBSCRIBED)), Cause.PROTOCOL, GZIP, GZIP),
    body("deflate without its container", raw_deflate(SUBSCRIBED), Cause.PROTOCOL, DEFLATE),
    body("brotli", SUBSCRIBED, Cause.PROTOCOL, b"Content-Encoding: br"),
    # Malformed HTTP.
    wire("garbage", b"NOPE\r\n\r\n"),
    wire("another protocol's greeting", b"220 smtp.example.org ESMTP\r\n"),
    wire("TLS on a plain port", b"\x15\x03\x01\x00\x02\x02\x46"),
    wire("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    wire("no HTTP, just JSON", SUBSCRIBED),
    wire("status that is no number", b"HTTP/1.1 abc OK\r\n\r\n"),
    wire("header without a colon", b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n" + SUBSCRIBED),
    wire("header of 20 kB", response(headers=(b"X-Long: " + b"x" * 20_000,))),
    wire("header of 1 MB", response(headers=(b"X-Long: " + b"x" * 1_000_000,))),
    wire("headers of 1 MB", response(headers=(b"X-Many: x",) * 100_000)),
    wire("reason phrase in Latin-1", response(status=b"200 \xe9\xe9")),
    wire("two content-lengths", response(headers=(b"Content-Length: 5",))),
    wire("content-length that is no number", response(headers=(b"Content-Length: ten",), length=False)),
    wire("content-length below zero", response(headers=(b"Content-Length: -1",), length=False)),
    wire("content-length too short", response(headers=(b"Content-Length: 5",), length=False)),
    wire("content-length too long", response(SUBSCRIBED + b"..")[:-2]),
    wire("chunk size that is none", CHUNKED + b"xyz\r\n" + SUBSCRIBED),
    wire("chunk longer than its size", CHUNKED + b"3\r\n" + SUBSCRIBED + b"\r\n0\r\n\r\n"),
    wire("chunk size beyond 64 bits", CHUNKED + b"f" * 40 + b"\r\n" + SUBSCRIBED),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "_"))
async def test_a_fault_is_named_in_time_and_leaves_the_client_whole(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Each fault gives its cause and health within the deadline, and the next question is answered."""
    async with nothing_left(caplog), asking(fault.behaviour, deadline=AMPLE) as (server, client):
        within = DEADLINE if fault.cause is Cause.TIMEOUT else AMPLE
        async with in_time(DEADLINE):
            reply = await client.ask(QUESTION, within=within)
        assert (reply.outcome.outcome, reply.outcome.cause) == (Outcome.ERROR, fault.cause)
        assert (reply.health, reply.retry_after) == (fault.health, fault.retry_after)
        assert len(server.requests) == 1

        server.behaviour = healthy()
        reply = await client.ask(QUESTION)
        assert (reply.outcome.outcome, reply.health) == (Outcome.EXISTING, HEALTHY)
        await until(lambda: server.open_now == 1)
        assert server.open_now == 1  # the connection that failed is closed although the client is not


ANSWERS = {
    "wrong content type": says(response(headers=(b"Content-Type: text/html",))),
    "no content type": says(b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n" + SUBSCRIBED),
    "no reason phrase": says(b"HTTP/1.1 200\r\nContent-Length: 26\r\n\r\n" + SUBSCRIBED),
    "HTTP/1.0": says(b"HTTP/1.0 200 OK\r\n\r\n" + SUBSCRIBED),
    "until the connection ends": says(response(length=False)),
    "chunked": says(CHUNKED, b"a\r\n" + SUBSCRIBED[:10], b"\r\n10\r\n" + SUBSCRIBED[10:] + b"\r\n0\r\n\r\n"),
    "after a 103": says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", response()),
    "after 100 and 102": says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n", response()),
    "gzip": says(response(squeezed(SUBSCRIBED), headers=(GZIP,))),
    "x-gzip": says(response(squeezed(SUBSCRIBED), headers=(b"Content-Encoding: X-GZIP",))),
    "deflate": says(response(zlib.compress(SUBSCRIBED), headers=(DEFLATE,))),
    "identity": says(response(headers=(b"Content-Encoding: identity",))),
    "exactly the cap": says(response(b" " * 65_510 + SUBSCRIBED)),
    "gzip of exactly the cap": says(response(squeezed(b" " * 65_510 + SUBSCRIBED), headers=(GZIP,))),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_in_any_legal_dress_is_an_answer(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What HTTP allows a server to do around a good body changes nothing."""
    async with nothing_left(caplog), asking(ANSWERS[name]) as (_, client):
        reply = await client.ask(QUESTION)
        assert (reply.outcome, reply.health) == (LookupOutcome(Outcome.EXISTING), HEALTHY)


@cache
def bomb() -> bytes:
    """Two hundred megabytes of spaces, in gzip."""
    return squeezed(b" " * 200_000_000)


BOMBS: dict[str, tuple[Callable[[], bytes], Cause]] = {
    "200 MB of spaces in gzip": (lambda: response(bomb(), headers=(GZIP,)), Cause.TOO_LARGE),
    "200 MB of spaces in chunked gzip": (
        lambda: (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(bomb()), bomb())
        ),
        Cause.TOO_LARGE,
    ),
    "100 kB of empty gzip blocks": (
        lambda: response(squeezed(b"")[:10] + b"\x00\x00\x00\xff\xff" * 20_000, headers=(GZIP,)),
        Cause.TOO_LARGE,
    ),
    "one-byte chunks": (lambda: CHUNKED + b"1\r\n \r\n" * 50_000, Cause.TOO_LARGE),
    "a megabyte of 103": (lambda: b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40_000, Cause.TOO_LARGE),
    "a megabyte of headers": (lambda: response(headers=(b"A: b",) * 200_000), Cause.PROTOCOL),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_takes_neither_memory_nor_the_loop(name: str) -> None:
    """What inflates or multiplies is cut off before it costs 8 MB or 50 ms of the loop."""
    make, cause = BOMBS[name]
    sent = make()
    async with asking(deadline=AMPLE) as (server, client):
        await client.ask(QUESTION)
        server.behaviour = then_hang(sent)
        async with watching_strain() as strain:
            reply = await client.ask(QUESTION)
        assert (reply.outcome.cause, reply.health) == (cause, FAILURE)
        assert strain.stall < 0.05
        assert strain.memory < 8_000_000


@pytest.mark.parametrize(
    "behaviour",
    [
        says(response(ECHO, status=b"404 Not Found"), keep=True),
        says(response(b"x" * 100_000, status=b"404 Not Found")),
        says(response(b"x", status=b"404 Not Found", headers=(GZIP,))),
    ],
    ids=["short", "too_long", "not_the_gzip_it_says"],
)
async def test_404_is_an_answer_where_the_endpoint_says_so(
    behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that answers 404 for unknown people is healthy, whatever its 404 page holds."""
    async with (
        nothing_left(caplog),
        asking(behaviour, on_not_found=NotFound.NOT_SUBSCRIBED) as (_, client),
    ):
        reply = await client.ask(QUESTION)
        assert (reply.outcome.outcome, reply.outcome.cause) == (Outcome.NON_EXISTING, None)
        assert reply.health is HEALTHY


async def test_a_run_of_404_answers_keeps_its_connection() -> None:
    """Where most people are unknown, each 404 does not cost a new connection."""
    not_found = says(response(ECHO, status=b"404 Not Found"), keep=True)
    async with asking(not_found, on_not_found=NotFound.NOT_SUBSCRIBED) as (server, client):
        for _ in range(5):
            assert (await client.ask(QUESTION)).outcome.outcome is Outcome.NON_EXISTING
        assert server.connections == 1


async def test_an_empty_answer_may_be_a_failure_of_the_question_alone() -> None:
    """Where an endpoint says so, {} is no_data: never an answer, and no failure of the service."""
    async with asking(says(response(b"{}"), keep=True), empty_means=EmptyMeans.ERROR) as (server, client):
        for _ in range(3):
            reply = await client.ask(QUESTION)
            assert (reply.outcome, reply.health) == (LookupOutcome(Outcome.ERROR, Cause.NO_DATA), NEUTRAL)
        assert server.connections == 1
        server.behaviour = healthy()
        assert (await client.ask(QUESTION)).outcome.outcome is Outcome.EXISTING


async def test_an_answer_about_somebody_else_is_a_failure() -> None:
    """A service or a proxy that mixes up its answers is not believed: the contactRef is not the asked one."""
    mixed_up = b'{"privacy":{"optIn":true},"contactRef":"somebody else"}'
    async with asking(says(response(mixed_up), keep=True)) as (server, client):
        reply = await client.ask(QUESTION)
        assert (reply.outcome, reply.health) == (LookupOutcome(Outcome.ERROR, Cause.WRONG_DATA), FAILURE)
        server.behaviour = healthy(mixed_up.replace(b"somebody else", QUESTION.contact_ref.encode()))
        assert (await client.ask(QUESTION)).outcome.outcome is Outcome.EXISTING


async def test_less_time_than_the_deadline_is_kept_to() -> None:
    """``within`` shortens the deadline, and cannot lengthen it."""
    async with asking(hang, deadline=DEADLINE) as (_, client):
        for within, expected in ((0.05, 0.05), (9.0, DEADLINE)):
            async with in_time(expected):
                reply = await client.ask(QUESTION, within=within)
            assert (reply.outcome.cause, reply.health) == (Cause.TIMEOUT, FAILURE)


@pytest.mark.parametrize("within", [0.0, -1.0])
async def test_no_time_left_is_no_question(within: float) -> None:
    """Where the wait for a turn took the whole deadline, the service is neither asked nor blamed."""
    async with asking() as (server, client):
        reply = await client.ask(QUESTION, within=within)
        assert (reply.outcome.cause, reply.health) == (Cause.SATURATED, NEUTRAL)
        assert server.connections == 0


async def test_the_question_is_one_post_of_json() -> None:
    """The service gets the two fields, asks for no compression, and learns nothing else."""
    async with asking() as (server, client):
        await client.ask(QUESTION)
        ((head, sent),) = server.requests
        assert sent == b'{"email":"ana@example.org","contactRef":"c0ntact-ref"}'
        first, *fields = head.lower().strip().split(b"\r\n")
        assert first == b"post /lookup http/1.1"
        assert sorted(fields) == [
            b"accept-encoding: identity",
            b"accept: application/json",
            b"content-length: 54",
            b"content-type: application/json",
            b"host: 127.0.0.1:%d" % server.port,
            b"user-agent: confirmation-streams",
        ]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ({"authorization": "Bearer s3cret"}, b"Bearer s3cret"),
        ({"authorization": basic("crm", "s3crét")}, b"Basic Y3JtOnMzY3LDqXQ="),
        ({"url": "http://crm:s3cr%C3%A9t@127.0.0.1:{port}/"}, b"Basic Y3JtOnMzY3LDqXQ="),
        ({"url": "http://crm:other@127.0.0.1:{port}/", "authorization": "Bearer s3cret"}, b"Bearer s3cret"),
    ],
    ids=["raw", "basic", "in_the_url", "raw_beats_url"],
)
async def test_credentials_reach_the_service_and_no_log(
    endpoint: dict[str, str], expected: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Both kinds of authentication are sent as they are, and appear in no log, nor in the endpoint's repr."""
    async with nothing_left(caplog), asking(**endpoint) as (server, client):
        assert (await client.ask(QUESTION)).health is HEALTHY
        assert f"authorization: {expected.decode()}\r\n" in server.requests[0][0].decode()
        server.behaviour = says(b"NOPE\r\n\r\n")
        assert (await client.ask(QUESTION)).outcome.cause is Cause.PROTOCOL
    assert "s3cr" not in repr(Endpoint(**{"url": "http://crm/"} | endpoint))


@pytest.mark.parametrize("url", ["", "nowhere", "ftp://crm/", "http://", "http://[::1", "//crm/x"])
async def test_a_url_that_is_none_is_refused_at_the_start(url: str) -> None:
    """A bad setting is found when the client is made, and the message does not quote it."""
    with pytest.raises(ValueError, match=r"^the lookup URL is not an? (http or https )?URL$"):
        LookupClient(Endpoint(url))


async def test_a_question_that_is_no_text_blames_nobody() -> None:
    """A contactRef that no JSON can hold fails its own lookup only."""
    async with asking() as (server, client):
        reply = await client.ask(Question(310, "\ud800", "ana@example.org"))
        assert (reply.outcome.cause, reply.health) == (Cause.UNEXPECTED, NEUTRAL)
        assert server.connections == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("9" * 5000, LONGEST_RETRY_AFTER),
        ("86401", LONGEST_RETRY_AFTER),
        ("Tue, 24 Nov 2026 10:02:00 GMT", 120.0),
        ("Tuesday, 24-Nov-26 10:02:00 GMT", 120.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
        ("Tue, 99 Nov 2026 10:00:00 GMT", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_in_both_forms(value: str | None, seconds: float | None) -> None:
    """Seconds or a date, never below zero nor above a day; anything else is no hint at all."""
    assert retry_after(value, lambda: 1_795_514_400.0) == seconds
