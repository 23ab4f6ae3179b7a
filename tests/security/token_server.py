"""A small OIDC provider on loopback: a token endpoint and the keys by which brokers check its tokens."""

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.http_server import answering

CLIENT, SECRET = "oauth-worker", "tell-nobody:1"
AUDIENCE, ISSUER = "kafka", "https://idp.example.org/"
LIFETIME = 300


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class TokenServer:
    """Gives tokens. What a scope says changes the token: ``lifetime=3 audience=elsewhere``."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self._lock = threading.Lock()
        self.port = 0
        #: How many tokens were given, by scope.
        self.given: Counter[str] = Counter()
        #: Statuses to answer with instead of a token, by scope; taken away, the server is well again.
        self.failing: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    @property
    def jwks_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.command == "GET":
            self._reply(request, 200, {"keys": [self._public_key()]})
            return
        form = dict(parse_qsl(request.rfile.read(int(request.headers["content-length"])).decode()))
        scope = form.get("scope", "")
        expected = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers["authorization"] != f"Basic {expected}":
            said = f"of {request.headers['authorization']}"  # as a careless server would repeat it
            self._reply(request, 401, {"error": "invalid_client", "error_description": said})
        elif scope == "unknown":
            self._reply(request, 400, {"error": "invalid_scope"})
        elif (status := self.failing.get(scope)) is not None:
            self._reply(request, status, {})
        else:
            options = dict(word.split("=") for word in scope.split())
            lifetime = int(options.get("lifetime", LIFETIME))
            with self._lock:
                self.given[scope] += 1
            token = self._token(lifetime, options.get("audience", AUDIENCE))
            self._reply(request, 200, {"access_token": token, "token_type": "Bearer", "expires_in": lifetime})

    def _reply(self, request: BaseHTTPRequestHandler, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _public_key(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        n, e = (
            _encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))
            for number in (numbers.n, numbers.e)
        )
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": n, "e": e}

    def _token(self, lifetime: int, audience: str) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": audience, "sub": CLIENT, "iat": now, "exp": now + lifetime}
        signed = ".".join(
            _encoded(json.dumps(part).encode())
            for part in ({"alg": "RS256", "typ": "JWT", "kid": "1"}, claims)
        )
        return f"{signed}.{_encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


@contextmanager
def token_server() -> Iterator[TokenServer]:
    server = TokenServer()
    with answering(server.answer) as port:
        server.port = port
        yield server
