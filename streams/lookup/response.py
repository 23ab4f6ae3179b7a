"""A reply's body, inflated, and never more of it than its cap.

Decompression is done here rather than by httpx or aiohttp, because httpx inflates a whole chunk before
anybody can count it: 194 kB of gzip can be 200 MB of spaces, and a second in which the event loop does
nothing else.
"""

import zlib

import httpx

from streams.lookup.causes import ReplyRefused
from streams.messages.decode import Cause

# Window bits as zlib takes them, for gzip (RFC 1952) and for zlib (RFC 1950), which HTTP calls "deflate".
_GZIP, _ZLIB = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
_CONTAINERS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}  # RFC 9110, 8.4.1


async def read_body(response: httpx.Response, cap: int) -> bytes:
    """The whole body, if it has at most ``cap`` bytes once inflated.

    Identity is all that was asked for, but a server or something before it may compress anyway.

    Raises:
        Refused: it is longer (``too_large``); or it is coded in a way not known here, or more than once, or
            wrongly, or something follows its end (``protocol``).
        Exception: whatever the connection raises.
    """
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > cap:
        raise ReplyRefused(Cause.TOO_LARGE)
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        return await _read_plain(response, cap)
    if coding not in _CONTAINERS:
        raise ReplyRefused(Cause.PROTOCOL)
    return await _read_inflated(response, cap, _CONTAINERS[coding])


async def _read_plain(response: httpx.Response, cap: int) -> bytes:
    body = bytearray()
    async for chunk in _chunks(response):
        body += chunk
        if len(body) > cap:
            raise ReplyRefused(Cause.TOO_LARGE)
    return bytes(body)


async def _read_inflated(response: httpx.Response, cap: int, container: int) -> bytes:
    body = bytearray()
    inflater = zlib.decompressobj(container)
    started = False
    async for chunk in _chunks(response):
        started = True
        try:
            body += inflater.decompress(chunk, cap + 1 - len(body))  # never 0, which zlib reads as "no limit"
        except zlib.error:
            raise ReplyRefused(Cause.PROTOCOL) from None
        if len(body) > cap:
            raise ReplyRefused(Cause.TOO_LARGE)
        if inflater.unused_data:
            raise ReplyRefused(Cause.PROTOCOL)
    if started and not inflater.eof:
        raise ReplyRefused(Cause.PROTOCOL)
    return bytes(body)


def _chunks(response: httpx.Response) -> httpx.AsyncByteStream:
    """The body as it comes from the connection. httpx's ``aiter_raw`` adds checks that nobody needs here."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream
