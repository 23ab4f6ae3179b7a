"""The W3C trace context that a record carries in its ``traceparent`` and ``tracestate`` headers."""

import re
from collections.abc import Iterable
from typing import Any

#: Names of the headers, as OpenTelemetry writes them in Kafka records.
_TRACE_HEADERS = ("traceparent", "tracestate")

#: W3C Trace Context, section 3.2.2: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")
_SAMPLED = 0x01


def trace_id(headers: Any) -> str | None:
    """Return the trace id of a record's ``traceparent`` header, or None without a valid one."""
    found = _traceparent(headers)
    return None if found is None else found[1].decode()


def sampled_traceparent(headers: Any) -> str | None:
    """Return a record's ``traceparent``, or None where its trace is not sampled."""
    found = _traceparent(headers)
    return found[0].decode() if found is not None and int(found[2], 16) & _SAMPLED else None


def trace_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes]]:
    """Return a record's trace context for its email: the first header of each name, if it is UTF-8 text."""
    found: dict[str, bytes | None] = {}
    for name, value in headers:
        if name in _TRACE_HEADERS:
            found.setdefault(name, value)
    return [(name, value) for name, value in found.items() if value is not None and _is_text(value)]


def _is_text(value: bytes) -> bool:
    try:
        str(value, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _traceparent(headers: Any) -> re.Match[bytes] | None:
    for name, value in headers or ():
        if name == "traceparent":
            return _TRACEPARENT.fullmatch(value) if isinstance(value, bytes) else None
    return None
