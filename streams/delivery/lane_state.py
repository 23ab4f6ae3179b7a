"""The life of a lane, and the numbers that bound what it holds and how long it waits."""

from dataclasses import dataclass
from enum import IntEnum

from streams.delivery.transaction import BatchRefused, Fenced, NotOpen, NotTogether, TransactionFailed


class LaneState(IntEnum):
    """The life of a lane; it only goes forward."""

    OPENING = 0  # not committing yet
    OPEN = 1  # takes chunks
    DRAINING = 2  # takes no more chunks; lookups may still end
    CLOSING = 3  # lookups that end now are the successor's; what is ready is committed
    CLOSED = 4  # holds nothing: what was in flight is the successor's


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How much a lane holds, and how long it waits."""

    uncommitted: int = 20_000  # records taken and not yet committed
    uncommitted_bytes: int = 32 << 20
    inbox: int = 2_000  # records; a lane with more waiting takes no further chunk
    ready: int = 4_000  # results; with so many no record is processed: writing them takes the loop some 10 ms
    #: Seconds in which answers gather, or until half of them are there, while a record waits for room for its
    #: lookup: the lane is behind, and a transaction for each few would take the CPU from the lookups.
    gather: float = 0.05
    fence_patience: float = 4.0  # seconds in which the rebalance that explains a fencing must show
    backoff: float = 0.1  # seconds before the first reopening, doubled up to
    backoff_most: float = 5.0  # seconds
    close_within: float = 4.0  # seconds for the last transaction

    def pause_after(self, failure: TransactionFailed, in_a_row: int) -> float:
        """Return the seconds to wait before the transactions are opened again."""
        if isinstance(failure, BatchRefused | NotOpen | NotTogether):
            return 0.0
        if isinstance(failure, Fenced):
            return self.fence_patience
        return min(self.backoff * (2.0 ** min(in_a_row - 1, 16) - 1), self.backoff_most)
