"""What an audit is asked for, and what it comes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.commands.audit.matching import Counts, Owed
from streams.commands.audit.moments import Moment
from streams.commands.topic_reader import RecordId, UnreadablePlace
from streams.delivery.epochs import Epochs


@dataclass(frozen=True, slots=True)
class AuditRange:
    """Which actions count. None: no bound on that side; no partitions: all."""

    begin: Moment | None = None
    end: Moment | None = None
    partitions: frozenset[int] = frozenset()

    def after(self, seconds: float) -> AuditRange:
        """Return what the same range means so many seconds later."""
        begin, end = (None if each is None else each.after(seconds) for each in (self.begin, self.end))
        return AuditRange(begin, end, self.partitions)


@dataclass(slots=True)
class AuditResult:
    """What an audit came to.

    Attributes:
        counts: what was counted.
        missing: settled, and neither email nor dead letter is there.
        doubled: actions with more than one email, or an email and a dead letter.
        in_flight: not settled yet, no email yet.
        held_back: settled, but an open transaction, or a batch that cannot be read, hides where their email
            would be.
        expired: of so long ago that the emails of that time are no longer kept.
        unasked: emails for actions that ask for none.
        unattributed: emails for which no action was found in or near the range.
        never_committed: the group has committed nothing in any partition: no worker has run.
        open_transactions: by emails partition, how many offsets an open transaction hides.
        compacted: the emails topic is compacted, so it cannot prove anything.
        epochs: of the actions, by partition.
        unreadable: batches that cannot be read, and for which there is no dead letter.
        seconds: how long it took.
    """

    counts: Counts
    missing: list[Owed] = field(default_factory=list)
    doubled: list[RecordId] = field(default_factory=list)
    in_flight: int = 0
    held_back: int = 0
    expired: int = 0
    unasked: int = 0
    unattributed: int = 0
    never_committed: bool = False
    open_transactions: Mapping[int, int] = field(default_factory=dict)
    compacted: bool = False
    epochs: Mapping[int, Epochs] = field(default_factory=dict)
    unreadable: list[UnreadablePlace] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing is missing or doubled, and all that counts could be read."""
        return not (self.missing or self.doubled or self.unreadable)
