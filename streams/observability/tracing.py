"""Traces to an OpenTelemetry collector, where ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set; nothing otherwise.

An action that came with a sampled ``traceparent`` header (W3C Trace Context) gets one span, from the moment
in which it was processed to its result: so a lookup's time shows in the trace of the signature that caused
it. An action without one costs a look at its headers. Names and attributes follow OpenTelemetry's conventions
for messaging systems; none of them holds anybody's data.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from streams.actions.outcomes import DeadLettered, Emailed, Ignored, Rekeyed
from streams.delivery.results import AwaitingLookup, Processor, PutOff, Record, Result
from streams.delivery.transaction import RecordRefused
from streams.messages.trace_context import sampled_traceparent
from streams.settings.table import SettingsError

#: The attribute ``confirmation.verdict`` of a span, by the kind of its outcome.
_VERDICTS: dict[type, str] = {
    Emailed: "email",
    Ignored: "ignored",
    Rekeyed: "rekeyed",
    DeadLettered: "dead_letter",
}


class Spans(Protocol):
    """Takes finished spans."""

    def add(self, traceparent: str, started: int, ended: int, attributes: dict[str, str | int]) -> None:
        """Take a span between two times in nanoseconds since 1970."""
        ...


class TracingProcessor:
    """A processor that traces what another one decides."""

    def __init__(
        self,
        processor: Processor,
        spans: Spans,
        topic: str,
        partition: int,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._processor = processor
        self._spans = spans
        self._topic = topic
        self._partition = str(partition)
        self._now = now

    @property
    def halted(self) -> str | None:
        """Why the traced processor processes no record, or None."""
        return self._processor.halted

    def process(self, record: Record) -> Result | AwaitingLookup | PutOff | None:
        """Process a record; where its trace is sampled, add a span once its result is known."""
        parent = sampled_traceparent(record.headers)
        if parent is None:
            return self._processor.process(record)
        started = self._now()
        result = self._processor.process(record)
        match result:
            case AwaitingLookup(answer, conclude):
                return AwaitingLookup(answer, partial(self._concluded, conclude, record, parent, started))
            case Result():
                self._add(record, parent, started, result)
        return result

    def on_refused(self, record: Record, result: Result, refused: RecordRefused) -> Result | None:
        """Return what the traced processor returns; the span tells of the first result."""
        return self._processor.on_refused(record, result, refused)

    def on_error(self, record: Record, exc: BaseException) -> Result:
        """Return what the traced processor returns, without a span."""
        return self._processor.on_error(record, exc)

    def _concluded(
        self, conclude: Callable[[Any], Result], record: Record, parent: str, started: int, answer: Any
    ) -> Result:
        result = conclude(answer)
        self._add(record, parent, started, result)
        return result

    def _add(self, record: Record, parent: str, started: int, result: Result) -> None:
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "confirm",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._topic,
            "messaging.destination.partition.id": self._partition,
            "messaging.kafka.offset": record.offset,
            "confirmation.verdict": _VERDICTS[type(result.outcome)],
        }
        if isinstance(outcome := result.outcome, Emailed):
            attributes |= {"confirmation.variant": outcome.variant, "confirmation.reason": outcome.reason}
            if outcome.lookup_outcome:
                attributes["confirmation.lookup.outcome"] = outcome.lookup_outcome
            if outcome.lookup_cause:
                attributes["error.type"] = outcome.lookup_cause
        self._spans.add(parent, started, self._now(), attributes)


class CollectorSpans:
    """Sends spans to a collector in batches, from a thread of its own; what it cannot take is dropped."""

    def __init__(self, endpoint: str, version: str) -> None:
        """Describe the collector; spans are sent from a thread of their own.

        Args:
            endpoint: base URL of the collector's OTLP over HTTP, as ``OTEL_EXPORTER_OTLP_ENDPOINT`` has it.
            version: of this worker.

        Raises:
            SettingsError: the extra ``otel`` is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError:
            advice = "is set, and its library is missing: pip install 'confirmation-streams[otel]'"
            raise SettingsError([f"OTEL_EXPORTER_OTLP_ENDPOINT {advice}"]) from None
        resource = Resource.create({"service.name": "confirmation-streams", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("confirmation-streams", version)
        self._extract = TraceContextTextMapPropagator().extract
        self._kind = SpanKind.CONSUMER

    def add(self, traceparent: str, started: int, ended: int, attributes: dict[str, str | int]) -> None:
        """Queue a span; never waits, and drops it where the queue is full."""
        parent = self._extract({"traceparent": traceparent})
        span = self._tracer.start_span(
            f"confirm {attributes['messaging.destination.name']}",
            context=parent,
            kind=self._kind,
            attributes=attributes,
            start_time=started,
        )
        span.end(ended)

    def close(self) -> None:
        """Send what is left; blocks for some seconds if the collector is away."""
        self._provider.shutdown()
