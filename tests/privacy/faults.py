"""Lookup services that fail, and say on the way whatever they were asked; and inputs that nobody can read."""

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson

from streams.sandbox.people import Supporter
from tests.lookup.faulty_server import Behaviour, Call, drops, hang, resets, response
from tests.privacy.people import EMAIL, FIRST, LAST, REF, SHORT_REF


def echoing(head: str, body: str = "", *, length: bool = True) -> Behaviour:
    """Answer with a head and a body in which {email}, {ref} and {quoted} are those of the question."""

    async def behave(call: Call) -> None:
        question = orjson.loads(call.body)
        said = {"email": question["email"], "ref": question["contactRef"], "quoted": quote(question["email"])}
        text = body.format_map(said)
        size = f"Content-Length: {len(text)}\r\n" if length else ""
        await call.send(f"{head.format_map(said)}\r\n{size}\r\n{text}".encode("utf-8", "surrogateescape"))

    return behave


async def broken_gzip(call: Call) -> None:
    """Compressed, and broken off in the middle."""
    body = zlib.compress(call.body * 10, wbits=31)[:-9] + call.body
    await call.send(response(body, headers=(b"Content-Encoding: gzip",)))


async def late(call: Call) -> None:
    """Answer when it is too late."""
    await asyncio.sleep(1.5)
    await call.send(response(call.body))


OK = "HTTP/1.1 200 OK"
LOOKUPS: dict[str, Behaviour] = {
    "status": echoing("HTTP/1.1 500 no {email} here\r\nX-Debug: {email}", "<h1>{ref} {email}</h1>"),
    "unknown": echoing("HTTP/1.1 404 {email}\r\nX-Ref: {ref}", "{email}"),
    "busy": echoing("HTTP/1.1 429 Slow down\r\nRetry-After: {email}", "{email}"),
    "redirect": echoing("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/{ref}?email={quoted}"),
    "bad_redirect": echoing("HTTP/1.1 301 Found\r\nLocation: http://{email}:{ref}@[::x]/"),
    "no_json": echoing(OK, "no such person: {email} {ref}"),
    "wrong_types": echoing(OK, '[{{"privacy":{{"optIn":"{email}"}},"{email}":1}}]'),
    "bad_status_line": echoing("HTTP/{email} 200 {ref}"),
    "bad_number": echoing("HTTP/1.1 {email} {ref}"),
    "bad_header": echoing(OK + "\r\n{email}\x00\r\n : {ref}", "{email}"),
    "long_header": echoing(OK + "\r\nX-Long: " + "{email}" * 2_000),
    "bad_length": echoing(OK + "\r\nContent-Length: {email}", "{email}", length=False),
    "bad_chunk": echoing(OK + "\r\nTransfer-Encoding: chunked\r\n", "{email}\r\n{ref}\r\n", length=False),
    "bad_charset": echoing(OK + "\r\nContent-Type: application/json; charset={email}", '"\udcff{email}"'),
    "bad_encoding": echoing(OK + "\r\nContent-Encoding: {ref}", "{email}"),
    "cookie": echoing(OK + "\r\nSet-Cookie: person={email}; Domain={ref}", "{email}"),
    "too_large": echoing(OK, "{email}" * 10_000),
    "injection": echoing('HTTP/1.1 503 \x1b[31m{email}\x07\x0b{{"level":"error"}}', "{email}"),
    "gzip": broken_gzip,
    "late": late,
    "hang": hang,
    "drop": drops,
    "reset": resets,
    "fields": echoing(OK, '{{"action":{{"customFields":{{"{email}":"{ref}"}}}}}}'),
}


def person(number: int, org_id: int, **contact: Any) -> dict[str, Any]:
    """Return an action of the person; every second one has a contactRef that is no hash."""
    supporter = Supporter(org_id, EMAIL, f"{SHORT_REF}-{number}" if number % 2 else REF, FIRST)
    comment = {"customFields": {"comment": f"I am {FIRST} {LAST}, {EMAIL}"}}
    action = supporter.action(number, action=comment)
    action["contact"] |= {"lastName": LAST, **contact}
    return action


def unreadable() -> Iterator[tuple[bytes | None, bytes | None]]:
    """Yield (key, value) of actions from which no email can be made, each with something of hers in it."""
    key = f"310:{REF}".encode()
    good = orjson.dumps(person(1, 310))
    yield key, None
    yield key, b""
    yield key, good[:-9]
    yield key, good + good
    yield key, EMAIL.encode()
    yield key, b"\xff\xfe" + EMAIL.encode("utf-16")
    yield key, good.replace(b'"orgId":310', f'"orgId":"{EMAIL}"'.encode())
    yield key, good.replace(b'"actionId":1', f'"actionId":{{"{EMAIL}":1}}'.encode())
    yield key, good.replace(b'"contact":', f'"{EMAIL}":{{}},"contact":[],"was":'.encode())
    yield key, good.replace(b'"stage":"supporter_confirm"', f'"stage":["{EMAIL}"]'.encode())
    yield key, orjson.dumps(person(1, 310, email=[EMAIL]))
    yield key, orjson.dumps(person(1, 310, contactRef={"ref": REF}))
    yield key, b'{"%s":' % EMAIL.encode() * 3_000
    yield None, orjson.dumps(person(1, 310, email=None))
    yield f"{EMAIL}:{REF}".encode(), good[:-1]


def odd() -> Iterator[dict[str, Any]]:
    """Yield actions that get an email, and would spoil a log that quoted them."""
    yield person(2, 310, firstName=f'{FIRST}\n{{"level":"error","event":"forged"}}')
    yield person(3, 310, firstName=f"\x1b[2J\x00{FIRST}", lastName=LAST * 20_000)
    yield person(4, 310, email=f"{EMAIL}\r\nBcc: {EMAIL}")
    yield person(5, 310, email=f'"{FIRST} {LAST}"@[pii-canary.test]', contactRef=f"{REF}\n{SHORT_REF}")


def statuses() -> Iterator[tuple[bytes | None, bytes | None]]:
    """Yield (key, value) of status rows that cannot be read."""
    for key in (f"310:{REF}".encode(), EMAIL.encode()):
        yield key, EMAIL.encode()
        yield key, b"{" + EMAIL.encode()
        yield key, orjson.dumps({"orgId": EMAIL, "contactRef": 1, "subscribed": EMAIL, "asOf": EMAIL})
        yield key, orjson.dumps({"orgId": 310, "contactRef": REF, "subscribed": True, "asOf": EMAIL})
