"""How many results one transaction has: all that is ready, or fewer after one that took too long."""

from __future__ import annotations

from typing import NamedTuple

from streams.delivery.commit_metadata import METADATA_CAP, encode
from streams.delivery.offset_tracker import OffsetTracker
from streams.delivery.results import Processed

#: Seconds; after a transaction that took longer, the next one is not larger.
FAST = 1.0


class Portion(NamedTuple):
    """What one transaction has, and what it commits."""

    results: list[Processed]
    left: list[Processed]  # stay ready; their offsets are incomplete in the metadata
    offset: int
    metadata: str


class TransactionSize:
    """Of one lane. As large as it was, a transaction that timed out would come too late again.

    A quota of the cluster does that: it slows down every large write. No method waits.
    """

    def __init__(self, most: int) -> None:
        """Begin with `most` results; there are never more."""
        self._limit = self._most = most

    @property
    def most(self) -> int:
        """Results that one transaction may have."""
        return self._most

    def portion(self, ready: list[Processed], tracker: OffsetTracker) -> Portion:
        """Take from what is ready as much as one transaction may have."""
        most = self._most
        while most < len(ready):
            offset, runs = tracker.commit_point([record.offset for record, _ in ready[most:]])
            metadata = encode(offset, runs)
            if len(metadata) <= METADATA_CAP:
                return Portion(ready[:most], ready[most:], offset, metadata)
            most *= 2  # the metadata has no room for so many gaps
        offset, runs = tracker.commit_point()
        return Portion(ready, [], offset, encode(offset, runs))

    def took(self, seconds: float) -> None:
        """A transaction ended after so long."""
        if seconds < FAST:
            self._most = min(2 * self._most, self._limit)

    def timed_out(self, results: int) -> None:
        """A transaction with so many results did not end in time."""
        self._most = max(1, results // 4)
