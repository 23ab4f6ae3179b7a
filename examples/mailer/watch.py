"""What can be seen of a mailer from outside: ``/metrics`` for Prometheus, and pages for probes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from examples.mailer.alive import WITHIN

FRESH = 30.0  # seconds that a lag counts as known, from when Kafka told it
REQUEST_TIMEOUT = 5.0  # seconds of silence in a request after which its connection is closed


@dataclass(frozen=True, slots=True)
class InHand:
    """The first record of a partition that has neither letter nor dead letter yet."""

    offset: int
    written_at: float  # seconds since the epoch


class Watch(Collector):
    """Counts what the mailer did, and knows what waits. What is not known is left out, and never 0.

    The mailer's loop writes; a thread of the web server reads.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since the epoch."""
        self._clock = clock
        self._beaten_at: float | None = None
        self._lags: dict[int, int] = {}
        self._lags_at: float | None = None
        self.in_hand: dict[int, InHand] = {}  # by partition
        self.ending = False
        self.registry = CollectorRegistry()
        self.sent = self._counter("mailer_letters_sent", "Letters that the server has taken.", "variant")
        self.failed = self._counter("mailer_letters_failed", "Records that became dead letters.", "reason")
        self.delayed = self._counter(
            "mailer_attempts_failed", "Attempts to send a letter that will be repeated.", "reason"
        )
        for variant in ("one_button", "two_button"):
            self.sent.labels(variant)  # a counter that is not there has no rate when it comes
        self.registry.register(self)

    def _counter(self, name: str, meaning: str, label: str) -> Counter:
        return Counter(name, meaning, [label], registry=self.registry)

    def beat(self) -> None:
        """The loop has begun another round."""
        self._beaten_at = self._clock()

    def know_lags(self, lags: dict[int, int]) -> None:
        """Kafka has just told how many records wait in each partition that is this mailer's."""
        self._lags, self._lags_at = lags, self._clock()

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs."""
        return self._beaten_at is not None and self._clock() - self._beaten_at < WITHIN

    @property
    def is_ready(self) -> bool:
        """Whether it reads from Kafka, and goes on doing so."""
        return self.is_alive and not self.ending and self._lags_known

    @property
    def _lags_known(self) -> bool:
        return self._lags_at is not None and self._clock() - self._lags_at < FRESH

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Make the gauges of this moment."""
        yield GaugeMetricFamily(
            "mailer_ready", "1 if the mailer reads from Kafka, 0 if not.", float(self.is_ready)
        )
        lags = GaugeMetricFamily(
            "mailer_lag_records",
            "Records that have neither letter nor dead letter yet; absent while Kafka does not tell.",
            labels=["partition"],
        )
        if self._lags_known:
            for partition, lag in sorted(self._lags.items()):
                lags.add_metric([str(partition)], lag)
        yield lags
        age = GaugeMetricFamily(
            "mailer_oldest_letter_age_seconds",
            "Since when the oldest record waits for its letter; 0: none waits; absent: not known.",
        )
        waiting = [each.written_at for each in list(self.in_hand.values())]
        if waiting or (self._lags_known and not sum(self._lags.values())):
            age.add_metric([], max(0.0, self._clock() - min(waiting)) if waiting else 0.0)
        yield age


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
