"""What became of each action, counted while it happens. The audit says in the end whether it is right. Pure.

An action is told by its record's place (topic, partition, offset), of which an email's ``id`` is made: the
same actionId may come again. The records of the topics may come in any order, an email before its action.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from streams.actions.dead_letter import read_dead_letter_headers
from streams.kafka.topics import TopicNames
from streams.messages.email import EmailWriter
from streams.sandbox.mailer import Arrival

Part = TypeVar("Part")
"""A part of the actions that is counted apart: a phase of the demo, a group of the drill."""


class SeenLookup(msgspec.Struct):
    """What an email says of its lookup."""

    cause: str | None = None


class SeenEmail(msgspec.Struct):
    """What is counted of an email."""

    id: str
    variant: str
    reason: str
    lookup: SeenLookup | None = None


_decode = msgspec.json.Decoder(SeenEmail).decode


class Delay(NamedTuple):
    """How long an action's email took."""

    sent_at: float  # the action's timestamp, seconds since the epoch
    seconds: float  # until a read_committed reader had the email


@dataclass(slots=True)
class Tally:
    """The actions of one part, and what came of them, whenever it came."""

    actions: int = 0
    emails: Counter[tuple[str, str]] = field(default_factory=Counter)  # the first ones, by variant and reason
    repeats: int = 0  # emails after an action's first
    doubled: int = 0  # actions with repeats
    causes: Counter[str] = field(default_factory=Counter)  # of failed lookups
    dead_letters: Counter[str] = field(default_factory=Counter)  # by error class
    delays: list[Delay] = field(default_factory=list)
    known_delays: list[Delay] = field(default_factory=list)  # of supporters whose status was known
    own_delays: list[float] = field(default_factory=list)  # seconds until the same reader had the actions

    @property
    def emails_out(self) -> int:
        """Emails of every kind, repeats included."""
        return self.emails.total() + self.repeats

    @property
    def missing(self) -> int:
        """Actions that have no email, whatever the reason."""
        return self.actions - self.emails.total()

    def add(self, email: SeenEmail, delay: Delay) -> None:
        """Count the first email of an action."""
        self.emails[email.variant, email.reason] += 1
        if email.lookup is not None and email.lookup.cause:
            self.causes[email.lookup.cause] += 1
        self.delays.append(delay)
        if email.reason.startswith("known_"):
            self.known_delays.append(delay)


@dataclass(slots=True)
class _Fate(Generic[Part]):
    """One action. Its email may be here before the action itself."""

    part: Part | None = None
    sent_at: float | None = None
    emails: int = 0
    dead_letters: list[str] = field(default_factory=list)
    first: SeenEmail | None = None
    seen_at: float = 0.0


class Account(Generic[Part]):
    """Counts records of actions, emails and dead letters, by the parts that `part_of` gives for an action.

    Attributes:
        parts: the tally of each part.
    """

    def __init__(self, names: TopicNames, part_of: Callable[[Any], Part | None]) -> None:
        """Start at zero.

        Args:
            names: of the topics.
            part_of: the part to which an action record belongs; None: it is not counted.
        """
        self.parts: defaultdict[Part, Tally] = defaultdict(Tally)
        self._part_of = part_of
        self._fates: defaultdict[str, _Fate[Part]] = defaultdict(_Fate)
        self._actions = names.actions
        self._count: dict[str, Callable[[Arrival], None]] = {
            names.actions: self._action,
            names.emails: self._email,
            names.dead_letters: self._dead_letter,
        }

    def take(self, arrivals: Iterable[Arrival]) -> None:
        """Count what has arrived."""
        for arrival in arrivals:
            self._count[arrival.record.topic](arrival)

    @property
    def uncalled(self) -> int:
        """Emails of no action that was seen; final once everything is read."""
        return sum(fate.emails for fate in self._fates.values() if fate.sent_at is None)

    def _action(self, arrival: Arrival) -> None:
        record = arrival.record
        fate = self._fates[EmailWriter(record.topic, record.partition).id_of(record.offset)]
        fate.part, fate.sent_at = self._part_of(record), record.timestamp / 1000
        if fate.part is None:
            return
        tally = self.parts[fate.part]
        tally.actions += 1
        tally.own_delays.append(arrival.seen_at - fate.sent_at)
        tally.dead_letters.update(fate.dead_letters)
        if fate.first is not None:
            tally.add(fate.first, Delay(fate.sent_at, fate.seen_at - fate.sent_at))
            tally.repeats += fate.emails - 1
            tally.doubled += fate.emails > 1

    def _email(self, arrival: Arrival) -> None:
        try:
            email = _decode(arrival.record.value)
        except (msgspec.MsgspecError, TypeError):
            email = SeenEmail(f"unreadable at {arrival.record.partition}/{arrival.record.offset}", "", "")
        fate = self._fates[email.id]
        fate.emails += 1
        if fate.first is None:
            fate.first, fate.seen_at = email, arrival.seen_at
        if fate.part is None or fate.sent_at is None:
            return
        tally = self.parts[fate.part]
        if fate.emails == 1:
            tally.add(email, Delay(fate.sent_at, arrival.seen_at - fate.sent_at))
        else:
            tally.repeats += 1
            tally.doubled += fate.emails == 2

    def _dead_letter(self, arrival: Arrival) -> None:
        origin = read_dead_letter_headers(arrival.record.headers)
        if origin.topic != self._actions or origin.partition is None or origin.offset is None:
            return
        fate = self._fates[EmailWriter(origin.topic, origin.partition).id_of(origin.offset)]
        fate.dead_letters.append(origin.error_class)
        if fate.part is not None:
            self.parts[fate.part].dead_letters[origin.error_class] += 1
