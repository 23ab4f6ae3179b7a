"""What a worker's gauges say; its pages are looked at in tests/integration."""

from types import SimpleNamespace
from typing import Any

import pytest

from streams.lookup.breaker import State
from streams.observability.page.headline import DOWN_IS_KNOWN_FOR
from streams.observability.worker_page import breaker_state


@pytest.mark.parametrize(
    ("state", "probe_due_in", "shown"),
    [
        (State.CLOSED, None, "closed"),
        (State.OPEN, 600.0, "open"),
        (State.OPEN, 0.0, "open"),
        (State.OPEN, -DOWN_IS_KNOWN_FOR, "open"),
        (State.OPEN, -DOWN_IS_KNOWN_FOR - 1, "unknown"),
        (State.HALF_OPEN, -DOWN_IS_KNOWN_FOR - 1, "unknown"),
        (State.HALF_OPEN, None, "half_open"),
    ],
)
def test_a_breaker_that_nobody_asks_any_more_is_unknown(
    state: State, probe_due_in: float | None, shown: str
) -> None:
    """Otherwise the alert would report a lookup as down for ever, of which nobody knows anything."""
    lookup: Any = SimpleNamespace(state=state, probe_due_in=probe_due_in)
    assert breaker_state(lookup) == shown
