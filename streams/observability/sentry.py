"""Errors to Sentry, where ``SENTRY_DSN`` is set; nothing otherwise.

Sentry's defaults collect local variables, and in ours are people's addresses: everything that could carry
one is off, and what is left is redacted like a log line.
"""

import logging
from typing import Any

from streams.observability.logs import Bounded, describe_error, message, redacted
from streams.settings.table import SettingsError


def report_errors(dsn: str, release: str) -> None:
    """Send what is logged at ERROR to Sentry.

    Args:
        dsn: where to.
        release: version of this worker.

    Raises:
        SettingsError: the extra ``sentry`` is not installed.
    """
    try:
        import sentry_sdk
        from sentry_sdk.integrations.logging import LoggingIntegration
    except ModuleNotFoundError:
        advice = "is set, and its library is missing: pip install 'confirmation-streams[sentry]'"
        raise SettingsError([f"SENTRY_DSN {advice}"]) from None
    integration = LoggingIntegration(level=None, event_level=logging.ERROR)
    # Before an event is made of a line, which takes milliseconds: ten thousand would block the event loop.
    integration._handler.addFilter(Bounded())  # type: ignore[union-attr]  # there is one, for event_level
    sentry_sdk.init(
        dsn,
        release=release,
        default_integrations=False,
        integrations=[integration],
        before_send=_redact_event,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        server_name="worker",
    )


def _redact_event(event: Any, hint: Any) -> Any:
    record = hint.get("log_record")
    if record is not None:
        event["logentry"] = {"message": message(record)}
    for each in event.get("exception", {}).get("values", ()):
        each["value"] = ""
    if (exc := (hint.get("exc_info") or (None, None))[1]) is not None:
        event["exception"]["values"][-1]["value"] = describe_error(exc)  # the last one is the outermost
    return _redact_deep(event)


def _redact_deep(value: Any) -> Any:
    match value:
        case str():
            return redacted(value)
        case dict():
            return {name: _redact_deep(each) for name, each in value.items()}
        case list() | tuple():
            return [_redact_deep(each) for each in value]
        case _:
            return value
