"""What can be seen of an example from outside: ``/metrics`` for Prometheus, and pages for probes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, make_wsgi_app

WITHIN = 30.0  # seconds in which a program that is at work gives a sign of life
REQUEST_TIMEOUT = 5.0  # seconds of silence in a request after which its connection is closed


class Watch:
    """What a program says of itself. Its loop writes; a thread of the web server reads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since the epoch."""
        self._clock = clock
        self._beaten_at: float | None = None
        self.ending = False
        self.registry = CollectorRegistry()

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """Make a counter; Prometheus adds ``_total`` to its name."""
        return Counter(name, meaning, labels, registry=self.registry)

    def beat(self) -> None:
        """The loop has begun another round."""
        self._beaten_at = self._clock()

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs."""
        return self._beaten_at is not None and self._clock() - self._beaten_at < WITHIN

    @property
    def is_ready(self) -> bool:
        """Whether it does its work, and goes on doing so."""
        return self.is_alive and not self.ending


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the base class calls it so
        """Log no request."""


class Web:
    """Serves a watch in a thread of its own, so that it answers when the loop does not."""

    def __init__(self, watch: Watch, host: str, port: int) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._watch = watch
        self._metrics: Any = make_wsgi_app(watch.registry)
        self._server = make_server(host, port, self._answer, _Server, _QuietHandler)
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = self._metrics(environ, start_response)
                return answer
            case "/livez":
                good = self._watch.is_alive
            case "/readyz":
                good = self._watch.is_ready
            case _:
                return _say(start_response, "404 Not Found", b"/metrics, /livez, /readyz\n")
        return _say(start_response, *(("200 OK", b"yes\n") if good else ("503 Service Unavailable", b"no\n")))


def _say(start_response: Any, status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
