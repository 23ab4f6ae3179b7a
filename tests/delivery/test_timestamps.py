"""Which record timestamps can be true."""

from __future__ import annotations

import pytest

from streams.delivery.timestamps import AHEAD, is_known, latest_true

NOW = 1_796_000_000.0


@pytest.mark.parametrize(
    ("timestamp", "known"),
    [
        (-(1 << 63), False),
        (-1, False),
        (0, False),
        (NOW, False),  # seconds
        (946_684_800_000, True),  # 2000-01-01
        (NOW * 1000, True),
        ((NOW + 23 * 3600) * 1000, True),
        ((NOW + 25 * 3600) * 1000, False),
        (NOW * 1_000_000, False),  # microseconds
        ((1 << 63) - 1, False),
    ],
)
def test_a_timestamp_is_known_from_2000_to_a_day_ahead(timestamp: float, known: bool) -> None:
    """Whatever else a producer writes says nothing about when it wrote."""
    assert is_known(int(timestamp), NOW) is known


@pytest.mark.parametrize("timestamp", [-1, 0, int(NOW * 1000), int((NOW + 3600) * 1000)])
def test_a_record_may_speak_of_a_day_ahead(timestamp: int) -> None:
    """It is a day ahead of the later of our clock and the record's timestamp."""
    assert latest_true(timestamp, NOW) == max(NOW, timestamp / 1000) + AHEAD
