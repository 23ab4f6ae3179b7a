"""Errors to Sentry, without anybody's data."""

import logging
import sys

import pytest
import sentry_sdk

from streams.observability.sentry import report_errors
from streams.settings.table import SettingsError
from tests.privacy.receivers import receiving


def test_an_error_is_reported_and_no_address_with_it() -> None:
    """What is logged at ERROR arrives, with its exception's class; addresses do not."""
    with receiving() as receivers:
        report_errors(receivers.sentry_dsn, "1.0")
        canary = "canary@pii.test"
        logging.getLogger("streams.test").warning("only a warning of %s", canary)
        try:
            raise LookupError(f"nobody called {canary}")
        except LookupError:
            logging.getLogger("streams.test").exception("failed for %s", canary)
        sentry_sdk.flush(5)
        sentry_sdk.get_client().close(0)
        sentry_sdk.init()
    sent = b"".join(body for _, body in receivers.received)
    assert b"LookupError" in sent
    assert b"only a warning" not in sent
    assert b"pii.test" not in sent


def test_without_the_extra_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that names the setting and the remedy."""
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(SettingsError, match=r"SENTRY_DSN .* pip install"):
        report_errors("http://key@127.0.0.1:1/1", "1.0")
