"""Trace ids and sampling, as records' headers tell them."""

from typing import Any

import pytest

from streams.messages.trace_context import sampled_traceparent, trace_headers, trace_id


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            [("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        ([("traceparent", b"rubbish")], None),
        ([("traceparent", b"00-ana@example.org".ljust(55, b"-"))], None),
        ([("traceparent", None)], None),
        (None, None),
    ],
)
def test_a_trace_id_is_read_from_its_header(headers: Any, expected: str | None) -> None:
    """Or nothing, where there is none."""
    assert trace_id(headers) == expected


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", False),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz", False),
        (None, False),
    ],
)
def test_only_a_sampled_parent_is_followed(value: bytes | None, sampled: bool) -> None:
    """The lowest bit of the flags says whether the trace is recorded."""
    assert (sampled_traceparent([("traceparent", value)]) is not None) is sampled


@pytest.mark.parametrize(
    ("headers", "travelling"),
    [
        (
            [("a", b"1"), ("tracestate", b"v=1"), ("traceparent", b"x")],
            [("tracestate", b"v=1"), ("traceparent", b"x")],
        ),
        ([("traceparent", b"first"), ("traceparent", b"second")], [("traceparent", b"first")]),
        ([("traceparent", None), ("tracestate", b"\xff"), ("traceparent", b"second")], []),
    ],
)
def test_the_first_header_of_each_name_travels_on_if_it_is_text(headers: Any, travelling: Any) -> None:
    """The schema of an email's headers knows UTF-8 texts only, each name once."""
    assert trace_headers(headers) == travelling
