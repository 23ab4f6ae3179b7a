"""What takes Sentry's events and OpenTelemetry's spans in a test, and keeps them as text."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            receivers.received.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    receivers = Receivers(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receivers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
