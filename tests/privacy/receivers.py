"""What takes Sentry's events and OpenTelemetry's spans in a test, and keeps them as text."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.http_server import answering


class Receivers:
    """Both, at one port; every body that came, by path."""

    def __init__(self, port: int) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.sentry_dsn = f"http://key@127.0.0.1:{port}/1"
        self.otlp_endpoint = f"http://127.0.0.1:{port}"

    def of(self, part: str) -> list[bytes]:
        """Return the bodies posted to a path with this in it."""
        return [body for path, body in self.received if part in path]


@contextmanager
def receiving() -> Iterator[Receivers]:
    """Listen on a free port of 127.0.0.1."""

    def take(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        body = gzip.decompress(body) if request.headers["Content-Encoding"] == "gzip" else body
        receivers.received.append((request.path, body))
        request.send_response(200)
        request.end_headers()

    with answering(take) as port:
        receivers = Receivers(port)
        yield receivers
