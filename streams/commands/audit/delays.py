"""Percentiles of delays in memory that does not grow with their number. Pure."""

from __future__ import annotations

from collections import Counter

PERCENTILES = (50, 90, 99)
_EXACT_BELOW = 1_024  # milliseconds; from here on a bucket is at most 1/256 of its value wide


class Delays:
    """Counts delays in buckets that are exact up to a second and 0.4 % wide beyond."""

    def __init__(self) -> None:
        """Start without any."""
        self._buckets: Counter[int] = Counter()
        self._most = 0
        #: Emails that are stamped earlier than their action: the clocks of two machines differ.
        self.negative = 0

    def add(self, milliseconds: int) -> None:
        """Count one; a negative one counts as 0."""
        if milliseconds < 0:
            self.negative += 1
            milliseconds = 0
        elif milliseconds >= _EXACT_BELOW:
            self._most = max(self._most, milliseconds)
            shift = milliseconds.bit_length() - 9
            milliseconds = milliseconds >> shift << shift
        self._buckets[milliseconds] += 1

    def seconds(self) -> dict[str, float] | None:
        """Return p50, p90, p99 (within 0.4 %) and max in seconds; None where there are no delays."""
        total = self._buckets.total()
        if not total:
            return None
        found: dict[str, float] = {}
        passed = 0
        wanted = list(PERCENTILES)
        last = 0
        for last in sorted(self._buckets):
            passed += self._buckets[last]
            while wanted and passed * 100 >= total * wanted[0]:
                found[f"p{wanted.pop(0)}"] = last / 1000
        found["max"] = max(last, self._most) / 1000
        return found
