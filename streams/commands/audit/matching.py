"""Matches emails to actions by id, in memory that grows with their disorder and not with their number. Pure.

An email's id is made from its action's topic, partition, epoch and offset (:mod:`streams.messages.email`), so
the id of every action can be computed and is looked for among the emails. Both sides are read at about the
same pace: what has found its counterpart is forgotten at once, and only what waits is kept. An action that
finds no email stays to the end: it is in flight, or missing. An email that finds no waiting action is kept
too: it is the second of its kind, belongs to an action outside what was read, or was asked for by nobody.
Which of these is found out at the end by computing ids of offsets until each is found. Beyond that, one bit
is kept for each offset: whether a record there was owed an email.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from streams.commands.audit.delays import Delays
from streams.commands.topic_reader import RecordId
from streams.delivery.epochs import UNKNOWN, Epochs
from streams.delivery.timestamps import is_known
from streams.messages.decode import Undecodable, decode_action
from streams.messages.email import EmailWriter, source_of

#: Marks an email that ``streams resend`` wrote.
RESENT = "resent"


class Owed(NamedTuple):
    """An action record that must come to an email or a dead letter, and has neither so far."""

    id: RecordId
    timestamp: int  # milliseconds since the epoch
    action_id: int | None  # None: no email can be made from it, so a dead letter is owed


class _Email(NamedTuple):
    partition: int  # of its action
    timestamp: int  # of its first record
    copies: int
    current: bool  # whether it is of the current epoch


class _Source(NamedTuple):
    """What a CloudEvent's source says: a partition of actions, in one of its epochs."""

    partition: int
    in_log: bool  # whether the log has offsets of this epoch
    current: bool


@dataclass(slots=True)
class Counts:
    """What has been counted; only actions within the range, and what came of them."""

    records: int = 0
    asked: int = 0  # for an email
    unreadable: int = 0  # owed a dead letter
    ignored: int = 0  # asks for no email, or is a tombstone
    emails: int = 0
    resent: int = 0  # emails that ``streams resend`` wrote, wherever their actions are
    dead_lettered: int = 0
    duplicates: int = 0  # passed over, as the same action had its email shortly before
    earlier_log: int = 0  # emails for records of a log that was cut, or deleted and made again
    foreign: int = 0  # emails that say that they come from elsewhere, or do not say where from
    delays: Delays = field(default_factory=Delays)


class _Side:
    """One partition of actions."""

    __slots__ = ("base", "counted", "dead", "id_of", "owed", "partition")

    def __init__(
        self, topic: str, partition: int, counted: range, dead: Collection[int], epochs: Epochs
    ) -> None:
        self.partition = partition
        self.counted = counted
        self.dead = dead
        self.base = counted.start
        self.owed = bytearray(len(counted) // 8 + 1)  # a bit for each offset
        ids = [EmailWriter(topic, partition, epoch).id_of for epoch in range(epochs.current + 1)]
        self.id_of = (lambda offset: ids[epochs.epoch_of(offset)](offset)) if epochs.starts else ids[0]

    def owe(self, offset: int) -> None:
        at = offset - self.base
        self.owed[at >> 3] |= 1 << (at & 7)

    def owes(self, offset: int) -> bool:
        at = offset - self.base
        return offset in self.counted and bool(self.owed[at >> 3] & 1 << (at & 7))


class Matching:
    """Takes records of both topics in chunks, and knows at any time which actions have no email yet."""

    def __init__(
        self,
        topic: str,
        counted: Mapping[int, range],
        dead: Mapping[int, Collection[int]] | None = None,
        epochs: Mapping[int, Epochs] | None = None,
        repeats_at: str | None = None,
    ) -> None:
        """Begin without any record.

        Args:
            topic: of the actions.
            counted: by partition, the offsets of the actions that count. Others may be told, too, so that
                their emails find them.
            dead: by partition, the offsets of actions for which a dead letter is there.
            epochs: by partition, which epoch each offset is of; 0 where a partition is left out.
            repeats_at: a stage at which repeat signers get an email, too; None: there is none.
        """
        dead = dead or {}
        known = {partition: (epochs or {}).get(partition, UNKNOWN) for partition in counted}
        self._sides = {
            partition: _Side(topic, partition, offsets, dead.get(partition, frozenset()), known[partition])
            for partition, offsets in counted.items()
        }
        self._sources = {
            f"/{source_of(topic, partition, epoch)}".encode(): _Source(
                partition,
                epoch in {each.epoch_of(0), *(number for _, number in each.starts)},
                epoch == each.current,
            )
            for partition, each in known.items()
            for epoch in range(each.current + 1)
        }
        self._repeats_at = repeats_at
        self._owed: dict[str, Owed] = {}
        self._early: dict[str, _Email] = {}
        self._doubled: set[RecordId] = set()
        self.counts = Counts()

    @property
    def actions_ahead(self) -> int:
        """How many more actions than emails wait; negative if more emails wait."""
        return len(self._owed) - len(self._early)

    @property
    def waiting(self) -> int:
        """How many actions have no email yet, those outside the range with them."""
        return len(self._owed)

    @property
    def owed(self) -> list[Owed]:
        """What counts and has no email yet, by place."""
        return sorted(
            owed for owed in self._owed.values() if owed.id.offset in self._sides[owed.id.partition].counted
        )

    @property
    def doubled(self) -> list[RecordId]:
        """Actions with more than one email, or an email and a dead letter; whole after `resolve`."""
        return sorted(self._doubled)

    def actions(self, partition: int, records: Iterable[Any]) -> None:
        """Take records of one partition of the actions topic."""
        side, counts = self._sides[partition], self.counts
        counted, dead, id_of = side.counted, side.dead, side.id_of
        early, waiting = self._early, self._owed
        for record in records:
            offset = record.offset
            counts_here = offset in counted
            counts.records += counts_here
            value = record.value
            try:
                action = None if value is None else decode_action(value, self._repeats_at)
            except Undecodable:
                counts.unreadable += counts_here
                action_id = None
            else:
                if action is None:
                    counts.ignored += counts_here
                    continue
                counts.asked += counts_here
                action_id = action.action_id
            if counts_here:
                side.owe(offset)
            if offset in dead:
                counts.dead_lettered += counts_here
                continue
            email_id = id_of(offset)
            email = early.pop(email_id, None)
            if email is None:
                waiting[email_id] = Owed(RecordId(partition, offset), record.timestamp, action_id)
            elif counts_here:
                counts.emails += email.copies
                self._note_delay(record.timestamp, email.timestamp)
                if email.copies > 1:
                    self._doubled.add(RecordId(partition, offset))

    def emails(self, records: Iterable[Any]) -> None:
        """Take records of the emails topic."""
        counts, waiting, early = self.counts, self._owed, self._early
        sides, sources = self._sides, self._sources
        for record in records:
            headers = dict(record.headers)
            raw = headers.get("ce_id")
            source = sources.get(headers.get("ce_source", b""))
            if raw is None or source is None:
                counts.foreign += 1
                continue
            if not source.in_log:
                counts.earlier_log += 1
                continue
            if RESENT in headers:
                counts.resent += 1
            email_id = raw.decode("ascii", "replace")
            owed = waiting.pop(email_id, None)
            if owed is not None:
                if owed.id.offset in sides[source.partition].counted:
                    counts.emails += 1
                    self._note_delay(owed.timestamp, record.timestamp)
            else:
                before = early.get(email_id)
                early[email_id] = (
                    _Email(source.partition, record.timestamp, 1, source.current)
                    if before is None
                    else before._replace(copies=before.copies + 1)
                )

    def rescue(self, records: Iterable[Any]) -> None:
        """Take emails that lie before those that were read: only what is owed is looked for in them."""
        for record in records:
            email_id = dict(record.headers).get("ce_id", b"").decode("ascii", "replace")
            owed = self._owed.pop(email_id, None)
            if owed is not None and owed.id.offset in self._sides[owed.id.partition].counted:
                self.counts.emails += 1
                self._note_delay(owed.timestamp, record.timestamp)

    def passed_over(self, letters: Iterable[bytes]) -> None:
        """Take the ids that the emails of actions would have had that the worker passed over."""
        for letter in letters:
            owed = self._owed.pop(letter.decode("ascii", "replace"), None)
            if owed is not None and owed.id.offset in self._sides[owed.id.partition].counted:
                self.counts.duplicates += 1

    def _note_delay(self, action_ms: int, email_ms: int) -> None:
        if is_known(action_ms, email_ms / 1000):
            self.counts.delays.add(email_ms - action_ms)

    def resolve(self, offsets: Callable[[int], Iterable[range]]) -> tuple[int, int]:
        """Find out where the emails belong that found no action waiting.

        Args:
            offsets: gives for a partition the offsets to look at outside of those that count, most likely
                first: those after them (actions that came while this ran), then those before.

        Returns:
            Emails that nobody asked for (their action asks for none), and emails for which no action
            was found at all.
        """
        unasked = 0
        left: dict[int, dict[str, _Email]] = {}
        for email_id, email in self._early.items():
            left.setdefault(email.partition, {})[email_id] = email
        for partition, emails in left.items():
            side = self._sides[partition]
            for offset in chain(side.counted, *offsets(partition)):
                found = emails.pop(side.id_of(offset), None)
                if found is None:
                    continue
                if side.owes(offset):
                    self.counts.emails += found.copies
                    self._doubled.add(RecordId(partition, offset))
                elif offset in side.counted:
                    unasked += found.copies
                if not emails:
                    break
        unattributed = [email for emails in left.values() for email in emails.values()]
        self.counts.earlier_log += sum(email.copies for email in unattributed if not email.current)
        return unasked, sum(email.copies for email in unattributed if email.current)
