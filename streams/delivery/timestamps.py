"""Which record timestamps can be true; any producer may write any 64-bit number."""

from __future__ import annotations

#: 2000-01-01, in milliseconds: an earlier timestamp is none (-1, 0), or is in seconds.
EARLIEST_MS = 946_684_800_000
#: Seconds that a timestamp may be ahead of our clock: one further ahead is wrong, or in microseconds.
AHEAD = 24 * 3600.0


def latest_true(timestamp_ms: int, now: float) -> float:
    """Return the latest moment that a record may speak of as past, in seconds since the epoch.

    It is a day ahead of the later of the record's timestamp, in milliseconds, and `now`, in seconds.
    """
    return max(now, timestamp_ms / 1000) + AHEAD


def is_known(timestamp_ms: int, now: float) -> bool:
    """Whether a timestamp in milliseconds can be true at `now` (seconds since the epoch)."""
    return EARLIEST_MS <= timestamp_ms <= (now + AHEAD) * 1000
