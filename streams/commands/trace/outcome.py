"""What a trace finds out about an action, and what that comes to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from streams.commands.action_content import Content
from streams.commands.command_line import FAILED, NO_ANSWER
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.topic_reader import RecordId
from streams.commands.trace.email import FoundEmail


class State(StrEnum):
    """What became of an action."""

    EMAILED = "emailed"
    DOUBLED = "doubled"  # it has two emails, or an email and a dead letter
    DEAD_LETTERED = "dead_lettered"
    IGNORED = "ignored"  # it asks for no email
    PASSED_OVER = "passed_over"  # the same action had its email shortly before
    IN_FLIGHT = "in_flight"  # the group has not settled it yet
    UNREADABLE = "unreadable"  # it lies in a batch that nobody can read
    HELD_BACK = "held_back"  # settled; where its email would be cannot be read now
    EXPIRED = "expired"  # settled; what was written at that time is no longer kept
    GONE = "gone"  # the action itself is no longer kept, and neither email nor dead letter is there
    MISSING = "missing"  # settled, and nothing is there


_CODES = {
    State.DOUBLED: FAILED,
    State.DEAD_LETTERED: FAILED,
    State.UNREADABLE: FAILED,
    State.MISSING: FAILED,
    State.HELD_BACK: NO_ANSWER,
    State.EXPIRED: NO_ANSWER,
    State.GONE: NO_ANSWER,
}


class Rekeyed(NamedTuple):
    """Where a re-keyed action lies in the internal topic."""

    place: RecordId
    is_settled: bool


@dataclass(slots=True)
class Traced:
    """One action record, and what was found of it.

    Attributes:
        id: where it lies, or lay.
        epoch: which one of the partition's logs `id` is of.
        email_id: that its email has.
        content: what it says; None: it is no longer kept, or nobody can read it.
        timestamp: of the record in milliseconds since the epoch; None as `content`.
        trace_id: of its trace context.
        is_settled: whether the group is done with it.
        committed: the group's offset in its partition; None: nothing is committed there.
        unreadable: why nobody can read the batch that it lies in; None: it is no such one.
        passed_over_for: the id of the email that the same action had shortly before; None: it had none.
        retry_of: the dead letter that it is the retry of.
        retried_as: actions that are retries of its dead letters.
    """

    id: RecordId
    epoch: int
    email_id: str
    content: Content | None = None
    timestamp: int | None = None
    trace_id: str | None = None
    is_settled: bool = False
    committed: int | None = None
    unreadable: str | None = None
    rekeyed: Rekeyed | None = None
    emails: list[FoundEmail] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    passed_over_for: str | None = None
    retry_of: RecordId | None = None
    retried_as: list[RecordId] = field(default_factory=list)
    is_hidden: bool = False  # an open transaction or an unreadable batch hides where its email would be
    kept_since: int = 0  # milliseconds since the epoch: all emails and dead letters from then on are kept

    @property
    def is_done(self) -> bool:
        """Whether the group is done with it, also where it was re-keyed."""
        return self.is_settled and (self.rekeyed is None or self.rekeyed.is_settled)

    @property
    def lacks_all(self) -> bool:
        """Whether an email or a dead letter should be there, as far as one knows, and neither was found."""
        if self.emails or self.dead_letters or self.unreadable is not None:
            return False
        return self.content is None or (self.content.ignored is None and self.is_done)

    @property
    def state(self) -> State:
        """What became of it."""
        found = len(self.emails) + bool(self.dead_letters)
        if found > 1:
            return State.DOUBLED
        if self.emails:
            return State.EMAILED
        if self.dead_letters:
            return State.DEAD_LETTERED
        if self.passed_over_for is not None:
            return State.PASSED_OVER
        if self.unreadable is not None:
            return State.UNREADABLE
        if self.content is None:
            return State.GONE
        if self.content.ignored is not None:
            return State.IGNORED
        if not self.is_done:
            return State.IN_FLIGHT
        if self.is_hidden:
            return State.HELD_BACK
        return State.EXPIRED if (self.timestamp or 0) < self.kept_since else State.MISSING


@dataclass(slots=True)
class TraceResult:
    """What a trace came to."""

    actions: list[Traced] = field(default_factory=list)
    records_read: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """The code of the worst action: FAILED before NO_ANSWER; FAILED where there is no action."""
        emailed = {each.id for each in self.actions if each.state is State.EMAILED}
        # A dead letter whose retry has its email is well.
        codes = {
            0 if emailed.intersection(each.retried_as) else _CODES.get(each.state, 0) for each in self.actions
        }
        return FAILED if FAILED in codes or not codes else max(codes)
