"""Fetches a token by OAuth 2.0's client credentials (RFC 6749, section 4.4), as an OIDC provider gives it.

No sentence holds the client's id, its secret, a token, or what the server says beyond its error code: the id
and the secret get swapped, and a description may repeat either.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from dataclasses import dataclass, field
from typing import Any

import httpx

from streams.authentication.tokens import FETCH_WITHIN, NoToken, Token, TokenRefused, TokenUnavailable

# httpx logs the URL of every request at INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)

_LARGEST_REPLY = 65_536  # bytes
#: RFC 6750, section 2.1. Anything else could end the message to the broker early.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
#: Codes of RFC 6749, section 5.2, by the settings that they are about.
_OF_THE_CLIENT = frozenset({"invalid_client", "unauthorized_client", "invalid_grant"})
_OF_THE_SCOPE = frozenset({"invalid_scope"})
#: Statuses of a server that is busy, not of a wrong question.
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Whom to ask for a token, and as whom.

    Attributes:
        url: the token endpoint.
        client_id: who asks.
        client_secret: proves it.
        scope: what the token shall be for; None: the server's default.
        ssl_context: whom to trust at the endpoint; None: the system's certificate authorities.
        settings: what the names of the settings begin with, for sentences.
    """

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    ssl_context: ssl.SSLContext | None = None
    settings: str = "STREAMS_KAFKA_OAUTH"

    def fetch(self) -> Token:
        """Ask for a token; takes `FETCH_WITHIN` seconds at most.

        Raises:
            TokenUnavailable: the server does not answer, or not now.
            TokenRefused: the server refuses the client or its question.
        """
        return asyncio.run(self._fetch())

    async def _fetch(self) -> Token:
        try:
            async with asyncio.timeout(FETCH_WITHIN):
                status, body = await self._ask()
        except TimeoutError:
            raise TokenUnavailable(f"{self._server} did not answer within {FETCH_WITHIN:g} s") from None
        except NoToken:
            raise
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise self._not_reached(error) from None
        reply = _json_object(body)
        if status == 200:
            return self._token_in(reply)
        raise self._refusal(status, reply.get("error"))

    async def _ask(self) -> tuple[int, bytes]:
        question = {"grant_type": "client_credentials"} | ({"scope": self.scope} if self.scope else {})
        client = httpx.AsyncClient(
            verify=self.ssl_context or ssl.create_default_context(),
            follow_redirects=False,
            trust_env=False,
            timeout=None,  # noqa: S113 the caller has one deadline for all
        )
        async with (
            client,
            client.stream(
                "POST",
                self.url,
                data=question,
                auth=(self.client_id, self.client_secret),
                headers={"accept": "application/json", "accept-encoding": "identity"},
            ) as response,
        ):
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _LARGEST_REPLY:
                    raise TokenUnavailable(f"{self._server} answers with more than {_LARGEST_REPLY:,} bytes")
        return response.status_code, bytes(body)

    @property
    def _server(self) -> str:
        return f"the token server at {httpx.URL(self.url).netloc.decode('ascii', 'replace')}"

    def _not_reached(self, error: Exception) -> NoToken:
        link: BaseException | None = error
        while link is not None:
            if isinstance(link, ssl.SSLCertVerificationError):
                return TokenRefused(
                    f"the certificate of {self._server} cannot be trusted ({link.verify_message}): look at"
                    f" {self.settings}_CA_FILE"
                )
            link = link.__cause__ or link.__context__
        return TokenUnavailable(f"{self._server} cannot be reached ({type(error).__name__})")

    def _token_in(self, reply: dict[str, Any]) -> Token:
        text = reply.get("access_token")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise TokenRefused(
                f"{self._server} answers without an access_token: is {self.settings}_TOKEN_URL right?"
            )
        try:
            lifetime = float(reply["expires_in"])  # some servers write the number as a text
        except (KeyError, TypeError, ValueError):
            lifetime = 0.0
        if not 0 < lifetime < 1e9:  # written so that NaN is refused, too
            raise TokenRefused(
                f"{self._server} does not say in expires_in how many seconds its token is valid"
            )
        return Token(text, lifetime)

    def _refusal(self, status: int, code: object) -> NoToken:
        if code in _OF_THE_SCOPE:
            return TokenRefused(f"{self._server} refuses {self.settings}_SCOPE ({code})")
        if code in _OF_THE_CLIENT or status == 401:
            return TokenRefused(
                f"{self._server} refuses {self.settings}_CLIENT_ID or {self.settings}_CLIENT_SECRET: one of"
                f" them is wrong (status {status})"
            )
        if status >= 500 or status in _LATER:
            return TokenUnavailable(f"{self._server} answers with status {status}")
        return TokenRefused(
            f"{self._server} answers with status {status}: is {self.settings}_TOKEN_URL right?"
        )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return reply if isinstance(reply, dict) else {}
