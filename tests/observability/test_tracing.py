"""Spans of the actions that came with a sampled trace."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from streams.actions.outcomes import DeadLettered, Emailed
from streams.delivery.results import AwaitingLookup, Result
from streams.observability.tracing import CollectorSpans, TracingProcessor
from streams.settings.table import SettingsError
from tests.privacy.receivers import receiving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
EMAIL = Result(None, Emailed("two_button", "lookup_failed", "error", "timeout", 310))


class Kept:
    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int, dict[str, str | int]]] = []

    def add(self, *span: Any) -> None:
        self.spans.append(span)


class Fixed:
    halted = None

    def __init__(self, result: Any) -> None:
        self.process = lambda _: result
        self.on_refused = lambda _, result, __: result
        self.on_error = lambda _, exc: Result(None, DeadLettered(type(exc).__name__))


def traced(result: Any, spans: Kept) -> TracingProcessor:
    ticks = iter(range(1, 100))
    return TracingProcessor(Fixed(result), spans, "actions", 3, now=lambda: next(ticks))


def record(traceparent: bytes | None = PARENT.encode()) -> Any:
    headers = [] if traceparent is None else [("traceparent", traceparent)]
    return SimpleNamespace(offset=9, headers=headers)


def test_a_verdict_at_once_is_a_span_under_the_action_s_own() -> None:
    """With its place and what came of it, and nobody's data."""
    spans = Kept()
    assert traced(EMAIL, spans).process(record()) is EMAIL
    ((parent, started, ended, attributes),) = spans.spans
    assert (parent, started, ended) == (PARENT, 1, 2)
    assert attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "confirm",
        "messaging.operation.type": "process",
        "messaging.destination.name": "actions",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 9,
        "confirmation.verdict": "email",
        "confirmation.variant": "two_button",
        "confirmation.reason": "lookup_failed",
        "confirmation.lookup.outcome": "error",
        "error.type": "timeout",
    }


async def test_a_lookup_s_time_is_in_its_span() -> None:
    """A result that waits makes its span when it is concluded."""
    spans = Kept()
    answer = asyncio.get_running_loop().create_future()
    pending = traced(AwaitingLookup(answer, lambda _: EMAIL), spans).process(record())
    assert isinstance(pending, AwaitingLookup)
    assert spans.spans == []
    answer.set_result(None)
    assert pending.conclude(answer) is EMAIL
    assert len(spans.spans) == 1


@pytest.mark.parametrize("header", [None, PARENT[:-2].encode() + b"00", b"rubbish", b"\xff" * 55])
def test_without_a_sampled_trace_there_is_no_span(header: bytes | None) -> None:
    """And the result is what it was."""
    spans = Kept()
    assert traced(EMAIL, spans).process(record(header)) is EMAIL
    assert spans.spans == []


def test_what_is_not_judged_now_makes_no_span() -> None:
    """It is processed again, perhaps many times."""
    spans = Kept()
    assert traced(None, spans).process(record()) is None
    assert spans.spans == []


def test_spans_reach_a_collector() -> None:
    """Over OTLP, in the trace of the action."""
    with receiving() as receivers:
        spans = CollectorSpans(f"{receivers.otlp_endpoint}/", "1.0")
        TracingProcessor(Fixed(EMAIL), spans, "actions", 3).process(record())
        spans.close()
    ((path, body),) = receivers.received
    assert path == "/v1/traces"
    assert bytes.fromhex(TRACE) in body
    assert b"confirm actions" in body
    assert b"lookup_failed" in body


def test_without_the_extra_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that names the setting and the remedy."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT .* pip install"):
        CollectorSpans("http://127.0.0.1:1", "1.0")
