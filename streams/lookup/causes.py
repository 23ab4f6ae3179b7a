"""Why an exchange failed, from what it raised and how far it had come.

aiohttp raises errors of many kinds, some of its own and some of ``ssl`` or the operating system, and the
outermost one does not always say what went wrong. Then the one from which it was raised does.
"""

import ssl

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

from streams.lookup.http import Exchange, chain
from streams.messages.decode import Cause

_TLS = (ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)
_CONNECT = (aiohttp.ClientConnectorError, aiohttp.InvalidURL)
_WIRE = (aiohttp.ClientError, httpx.TransportError, HttpProcessingError, OSError, UnicodeError)


class ReplyRefused(Exception):
    """A reply that is turned down while it is read, and why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


def cause_of(error: Exception, exchange: Exchange) -> Cause:
    """The name for what ended ``exchange``. Time-outs are the caller's: it alone has a deadline."""
    if isinstance(error, ReplyRefused):
        return error.cause
    if exchange.overflowed:
        return Cause.TOO_LARGE
    links = chain(error)

    def has(kinds: tuple[type[BaseException], ...]) -> bool:
        return any(isinstance(link, kinds) for link in links)

    if has(_TLS):
        return Cause.TLS
    if has(_CONNECT):
        return Cause.CONNECT
    if exchange.protocol is None:
        # Nothing was ever connected: a name that cannot be one raises UnicodeError from the resolver.
        return Cause.CONNECT if has(_WIRE) else Cause.UNEXPECTED
    if has(_WIRE) or not exchange.protocol.is_connected():
        return Cause.PROTOCOL
    return Cause.UNEXPECTED
