"""Errors to Sentry, without anybody's data."""

import gzip
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import sentry_sdk

from streams.observability.sentry import report_errors
from streams.settings.table import SettingsError


def test_an_error_is_reported_and_no_address_with_it() -> None:
    """What is logged at ERROR arrives, with its exception's class; addresses do not."""
    bodies: list[bytes] = []

    class Sentry(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Sentry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        report_errors(f"http://key@127.0.0.1:{server.server_port}/1", "1.0")
        canary = "canary@pii.test"
        logging.getLogger("streams.test").warning("only a warning of %s", canary)
        try:
            raise LookupError(f"nobody called {canary}")
        except LookupError:
            logging.getLogger("streams.test").exception("failed for %s", canary)
        sentry_sdk.flush(5)
    finally:
        sentry_sdk.get_client().close(0)
        sentry_sdk.init()
        server.shutdown()
        server.server_close()
    sent = b"".join(bodies)
    assert b"LookupError" in sent
    assert b"only a warning" not in sent
    assert b"pii.test" not in sent


def test_without_the_extra_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that names the setting and the remedy."""
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(SettingsError, match=r"SENTRY_DSN .* pip install"):
        report_errors("http://key@127.0.0.1:1/1", "1.0")
