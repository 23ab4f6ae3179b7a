"""Which offsets of a partition have been taken, and which of those are settled.

A lane settles offsets out of order: an action with a known status at once, one that awaits a lookup later.
The committed offset is the first incomplete one; later offsets that are settled already go into the commit's
metadata (:mod:`streams.delivery.commit_metadata`), so that a successor skips them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from streams.delivery.commit_metadata import MAX_SPAN, Run
from streams.delivery.timestamps import EARLIEST_MS


class OffsetTracker:
    """How far one partition has been taken, and what of that is incomplete.

    Only incomplete offsets are kept: every other one below `position` is settled. Offsets that the log skips
    (compaction, transaction markers, aborted records) count as settled: no record will ever be read there.
    No method waits.
    """

    __slots__ = ("_ahead", "_incomplete", "position", "settled_from")

    def __init__(self, position: int, ahead: Iterable[Run] = ()) -> None:
        """Start at the committed offset `position`, with the predecessor's settled runs beyond it."""
        self.position = position
        self._ahead = list(ahead)
        #: The first offset that a predecessor settled; below it, nobody has to ask `settled_before`.
        self.settled_from = self._first_ahead()
        # Each with its record's timestamp; ascending, since records are taken in order.
        self._incomplete: dict[int, int] = {}

    @property
    def awaiting_lookup(self) -> int:
        """How many taken records have no result yet."""
        return len(self._incomplete)

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The timestamp of the first record without a result that has a possible one; None without any."""
        return next((at for at in self._incomplete.values() if at >= EARLIEST_MS), None)

    @property
    def committable(self) -> int:
        """The offset to commit: the first incomplete one, or the next one to take."""
        return next(iter(self._incomplete), self.position)

    def spans(self, offset: int) -> bool:
        """Whether taking `offset` keeps every distance within what the metadata has room for.

        With nothing incomplete there is none, however far the log jumps (retention, compaction).
        """
        return not self._incomplete or offset - self.committable < MAX_SPAN

    def settled_before(self, offset: int) -> bool:
        """Whether a predecessor settled `offset`. Asked in ascending order; what lies below is forgotten."""
        if offset < self.settled_from:
            return False
        while self._ahead and self._ahead[0][1] < offset:
            self._ahead.pop(0)
        self.settled_from = self._first_ahead()
        return self.settled_from <= offset

    def take(self, offset: int, timestamp: int = 0) -> None:
        """Note that `offset`, of a record with this timestamp in ms, was taken and awaits its result."""
        self._incomplete[offset] = timestamp
        self.position = offset + 1

    def settle(self, offset: int) -> bool:
        """Note that the result of `offset` is known and about to be written; False if it is too late."""
        return self._incomplete.pop(offset, None) is not None

    def rebase(self, committed: int, ahead: Iterable[Run]) -> None:
        """Go on from what the cluster has committed, which somebody else may have moved meanwhile."""
        self._ahead = list(ahead)
        self.settled_from = self._first_ahead()
        self._incomplete = {
            offset: timestamp
            for offset, timestamp in self._incomplete.items()
            if offset >= committed and not any(first <= offset <= last for first, last in self._ahead)
        }
        self.position = max(self.position, committed)

    def commit_point(self, held_back: Sequence[int] = ()) -> tuple[int, list[Run]]:
        """Return the offset to commit and the settled runs beyond it, ascending, with the predecessor's.

        Args:
            held_back: offsets whose results are known, and not written with this commit.
        """
        while self.settled_from <= self.position:
            self.position = max(self.position, self._ahead.pop(0)[1] + 1)
            self.settled_from = self._first_ahead()
        incomplete = sorted([*self._incomplete, *held_back]) if held_back else list(self._incomplete)
        runs = [
            (offset + 1, following - 1)
            for offset, following in zip(incomplete, [*incomplete[1:], self.position], strict=False)
            if following > offset + 1
        ]
        return (incomplete[0] if incomplete else self.position), runs + self._ahead

    def _first_ahead(self) -> int:
        return self._ahead[0][0] if self._ahead else sys.maxsize


def unsettled(offsets: Iterable[int], committed: int, ahead: Iterable[Run]) -> set[int]:
    """Return those of `offsets` that are neither below the committed one nor in a settled run."""
    known = OffsetTracker(committed, ahead)
    return {offset for offset in sorted(offsets) if offset >= committed and not known.settled_before(offset)}
