"""What a token server is asked, and what each of its answers means."""

import json
import ssl
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from streams.authentication.client_credentials import ClientCredentials
from streams.authentication.tokens import NoToken, Token, TokenRefused, TokenUnavailable
from tests.http_server import answering

SECRET = "open-sesame"
GOOD = {"access_token": "abc.def", "token_type": "Bearer", "expires_in": 300}


def fetched(status: int, document: Any, **more: Any) -> Token:
    """What is made of one answer."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        request.rfile.read(int(request.headers["content-length"]))
        request.send_response(status)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as port:
        return ClientCredentials(f"http://127.0.0.1:{port}/token", "me", SECRET, **more).fetch()


@pytest.mark.parametrize("lifetime", [300, "300", 300.0])
def test_a_token_comes_with_its_lifetime(lifetime: object) -> None:
    """Servers write expires_in as a number or as a text."""
    assert fetched(200, GOOD | {"expires_in": lifetime}) == Token("abc.def", 300)


@pytest.mark.parametrize(
    ("status", "document", "kind", "says"),
    [
        (
            401,
            {"error": "invalid_client", "error_description": SECRET},
            TokenRefused,
            "_CLIENT_SECRET: one of",
        ),
        (400, {"error": "unauthorized_client"}, TokenRefused, "STREAMS_KAFKA_OAUTH_CLIENT_ID or"),
        (
            400,
            {"error": "invalid_scope"},
            TokenRefused,
            r"refuses STREAMS_KAFKA_OAUTH_SCOPE \(invalid_scope\)",
        ),
        (404, b"<html>", TokenRefused, "status 404: is STREAMS_KAFKA_OAUTH_TOKEN_URL right"),
        (302, b"", TokenRefused, "status 302: is STREAMS_KAFKA_OAUTH_TOKEN_URL right"),
        (503, b"", TokenUnavailable, "status 503"),
        (429, {}, TokenUnavailable, "status 429"),
        (200, b"<html>", TokenRefused, "without an access_token"),
        (200, b"[" * 60_000, TokenRefused, "without an access_token"),
        (200, GOOD | {"access_token": "a\x01b"}, TokenRefused, "without an access_token"),
        (200, {"access_token": "abc"}, TokenRefused, "expires_in"),
        (200, GOOD | {"expires_in": "NaN"}, TokenRefused, "expires_in"),
        (200, GOOD | {"expires_in": 0}, TokenRefused, "expires_in"),
        (200, b"x" * 70_000, TokenUnavailable, "more than 65,536 bytes"),
    ],
)
def test_each_other_answer_is_one_sentence(
    status: int, document: Any, kind: type[NoToken], says: str
) -> None:
    """It names the setting to mend, and neither secret nor token; what may pass is told apart."""
    with pytest.raises(kind, match=says) as error:
        fetched(status, document)
    assert type(error.value) is kind
    assert SECRET not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_is_not_there_may_come_back() -> None:
    """A closed port is no refusal."""
    with answering(lambda _: None) as port:
        pass
    with pytest.raises(TokenUnavailable, match="cannot be reached"):
        ClientCredentials(f"http://127.0.0.1:{port}/token", "me", SECRET).fetch()


def test_a_server_that_hangs_up_may_come_back() -> None:
    """No answer is no refusal."""
    with answering(lambda _: None) as port, pytest.raises(TokenUnavailable, match="cannot be reached"):
        ClientCredentials(f"http://127.0.0.1:{port}/token", "me", SECRET).fetch()


def test_a_secret_is_not_in_the_repr() -> None:
    """Whoever logs the question logs no secret."""
    assert SECRET not in repr(ClientCredentials("http://idp.example.org/", "me", SECRET))


def test_whom_to_trust_is_given() -> None:
    """With a file of authorities, that context is used, and TLS against a port without is no refusal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with answering(lambda _: None) as port, pytest.raises(TokenUnavailable):
        ClientCredentials(f"https://127.0.0.1:{port}/", "me", SECRET, None, context).fetch()
