"""The job itself: one action record in, one email out (or a dead letter, or nothing). One a partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from streams.actions.dead_letter import (
    DeadLetterLimit,
    dead_letter_headers,
    reduced,
    unreadable_letter,
    with_key,
)
from streams.actions.decision import decide
from streams.actions.outcomes import DeadLettered, Emailed, Ignored, Rekeyed, emailed
from streams.actions.rekeying import REKEYED_HEADERS, FirstPlace, Rekeying
from streams.actions.without_asking import WithoutAsking
from streams.delivery.epochs import UNKNOWN, Epochs
from streams.delivery.results import AwaitingLookup, PutOff, Record, Result
from streams.delivery.transaction import Outgoing, RecordRefused, RecordTooLarge
from streams.lookup.client import Question
from streams.lookup.lookups import Lookups
from streams.messages.decode import (
    Action,
    Cause,
    ErrorClass,
    LookupOutcome,
    Outcome,
    Reason,
    Undecodable,
    Variant,
    decode_action,
    status_key,
)
from streams.messages.email import EmailWriter, Headers, without_custom_fields
from streams.messages.lookup_reply import says_subscribed
from streams.messages.no_letter import NoLetter, why_no_letter
from streams.messages.trace_context import trace_id
from streams.messages.unreadable import UnreadableRecords

log = logging.getLogger(__name__)

_UNEXPECTED = LookupOutcome(Outcome.ERROR, Cause.UNEXPECTED)
_SATURATED = LookupOutcome(Outcome.ERROR, Cause.SATURATED)
_TOMBSTONE = Result(None, Ignored("tombstone"))
_NO_LETTER = {why: Result(None, Ignored(str(why))) for why in NoLetter}
_REKEYED = Rekeyed()
#: Outcomes that are kept ready in one partition; an orgId is any number that a record names.
_OUTCOMES_KEPT = 10_000
_new = tuple.__new__  # a named tuple's own constructor takes three times as long
#: Actions that may go without their lookup in so many seconds: a moment in which a healthy service hesitates
#: must not cost a whole chunk its answers, and one that hangs still holds up nobody.
GIVEN_UP_AT_ONCE, GIVEN_UP_EVERY = 64, 0.01


class ActionProcessor:
    """Decides what becomes of the records of one input partition: a lane's :class:`Processor`.

    A missing status becomes a lookup, as long as this partition has room for one more pending lookup, in all
    and of the same organisation. Beyond that, a fast lookup service is waited for; a slow one is not, since
    that would delay others: the action gets its two-button letter at once, counted as ``saturated``.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        emails_topic: str,
        dead_letters_topic: str,
        subscribed: Callable[[int, bytes, float], bool | None],
        lookups: Lookups,
        now: Callable[[], float],
        lookups_most: int,
        lookups_most_per_organisation: int,
        answered: Callable[[int, bytes, int, LookupOutcome], None] = lambda *_: None,
        dead_letter_limit: DeadLetterLimit | None = None,
        rekeying: Rekeying | None = None,
        rekeyed_from: Callable[[Record], FirstPlace | None] | None = None,
        epochs: Callable[[], Epochs] = lambda: UNKNOWN,
        complete: Callable[[Outgoing], Outgoing] = lambda letter: letter,
        repeats_at: str | None = None,
        message_decides: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """Process the records of one partition.

        Args:
            topic: the input topic.
            partition: its partition.
            emails_topic: where emails go.
            dead_letters_topic: where records go from which no email can be made.
            subscribed: gives the status of (partition, key, seconds since the epoch); None where it is
                missing or expired.
            lookups: of all organisations.
            now: wall clock, seconds since the epoch.
            lookups_most: lookups that may be pending here at once.
            lookups_most_per_organisation: the same of one organisation, so that one cannot take all of them.
            answered: told (partition, key, orgId, outcome) of every lookup that ended.
            dead_letter_limit: when to stop because too much is not understood; None: never.
            rekeying: moves actions that lie in the wrong partition; None: they are taken as they lie.
            rekeyed_from: gives the place in `topic` that a re-keyed record was read from first, or None of a
                record that nobody re-keyed; None: records are read from `topic` itself.
            epochs: of this partition of `topic`; asked when the first record is processed.
            complete: adds to a dead letter what its topic insists on.
            repeats_at: a stage at which repeat signers get an email, too; None: there is none.
            message_decides: whether an action of this orgId may say itself that its signer is subscribed.
        """
        self._topic, self._partition = topic, partition
        self._emails_topic, self._dead_letters_topic = emails_topic, dead_letters_topic
        self._subscribed = subscribed
        self._lookups = lookups
        self._now = now
        self._lookups_most = lookups_most
        self._lookups_most_per_organisation = lookups_most_per_organisation
        self._answered = answered
        self._dead_letter_limit = dead_letter_limit or DeadLetterLimit(1.0, topic, partition)
        self._understood = self._dead_letter_limit.note_good
        self.without_asking = WithoutAsking(partition, subscribed, lookups, rekeying, message_decides)
        self._rekeying = rekeying
        self._rekeyed_from = rekeyed_from
        self._complete = complete
        self._repeats_at = repeats_at
        self._message_decides = message_decides
        self._ask_epochs = epochs
        self._known_epochs: Epochs | None = None
        #: Writes the emails of this partition while its epoch is 0, which is nearly always.
        self._write: Callable[..., tuple[bytes, Headers]] | None = None
        self._writers: dict[tuple[int, int], EmailWriter] = {}
        self._outcomes: dict[tuple[object, ...], Emailed] = {}
        self._awaiting = 0
        self._awaiting_of: dict[int, int] = {}
        self._given_up = 0
        self._given_up_since = 0.0

    @property
    def halted(self) -> str | None:
        """Why no record is processed until a person has decided, as the dead-letter limit says; or None."""
        return self._dead_letter_limit.why

    def process(self, record: Record) -> Result | AwaitingLookup | PutOff | None:
        """Return the email, dead letter or nothing that a record comes to, or the lookup that it awaits.

        PutOff: its lookup has no room now, and its service is fast. None: none may go without one just now.
        """
        if self._dead_letter_limit.why is not None:
            return None
        value = record.value
        if value is None:
            return self._pass_over(record) if type(record) is UnreadableRecords else _TOMBSTONE
        try:
            action = decode_action(value, self._repeats_at)
            if action is None:
                self._understood()
                return _NO_LETTER[why_no_letter(value)]
            if self._rekeyed_from is not None and self._rekeyed_from(record) is None:
                raise Undecodable(ErrorClass.FIELD_VALUE, "$headers.rekeyed-from")
            key = status_key(action.org_id, action.contact_ref)
        except Undecodable as exc:
            return self._dead_letter(record, exc.error_class, exc.json_path)
        subscribed = self._subscribed(self._partition, key, self._now())
        result: Result | AwaitingLookup | PutOff | None
        if subscribed is not None:
            result = self._email(record, action, key, decide(subscribed, None), None)
        elif self._rekeying is not None and self._rekeying.needed(key):
            moved = self._rekeying.outgoing(record, key, self._epochs.epoch_of(record.offset))
            result = Result(moved, _REKEYED)
        else:
            result = self._ask(record, action, key)
        if result is not None and result is not PutOff.UNTIL_ANSWERED:  # it is processed again, many times
            self._understood()
        return result

    def understood(self, count: int) -> None:
        """Note that so many actions were understood by somebody else."""
        self._dead_letter_limit.note_many_good(count)

    def on_refused(self, record: Record, result: Result, refused: RecordRefused) -> Result | None:
        """Return what to write instead of what its topic refuses, each time with less in it.

        An email leaves without the lookup's custom fields; else the record becomes a dead letter, and a dead
        letter is reduced. None: even a bare notice is refused.
        """
        outgoing = result.outgoing
        assert outgoing is not None
        too_large = isinstance(refused, RecordTooLarge)
        smaller: Outgoing | None
        match result.outcome:
            case DeadLettered():
                smaller = outgoing if too_large else with_key(outgoing)
                if smaller is outgoing:
                    smaller = reduced(outgoing)
                else:
                    self._complete = with_key
                return None if smaller is None else Result(smaller, result.outcome)
            case Emailed() if too_large and outgoing.value is not None:
                value = without_custom_fields(outgoing.value, record.value)
                if value is not None:
                    return Result(outgoing._replace(value=value), result.outcome)
        return self._dead_letter(record, ErrorClass.TOO_LARGE if too_large else ErrorClass.REFUSED, "$")

    def on_error(self, record: Record, exc: BaseException) -> Result:
        """Return the dead letter of a record on which our own code failed."""
        log.error(
            "our own code failed on %s/%d/%d (%s): kept as a dead letter",
            self._topic,
            self._partition,
            record.offset,
            type(exc).__name__,
            extra={
                "event": "action_failed",
                "topic": self._topic,
                "partition": self._partition,
                "offset": record.offset,
                "trace_id": trace_id(record.headers),
            },
        )
        return self._dead_letter(record, ErrorClass.INTERNAL_ERROR, "$")

    def _ask(self, record: Record, action: Action, key: bytes) -> Result | AwaitingLookup | PutOff | None:
        org_id = action.org_id
        if self._message_decides(org_id) and says_subscribed(record.value):
            return self._email(record, action, key, decide(None, None, in_message=True), None)
        of_organisation = self._awaiting_of.get(org_id, 0)
        if self._awaiting >= self._lookups_most or of_organisation >= self._lookups_most_per_organisation:
            if (is_fast := self._lookups.is_fast(org_id)) or not self._may_give_up():
                return PutOff.UNTIL_ANSWERED if is_fast else None
            return self._email(record, action, key, decide(None, _SATURATED), _SATURATED)
        answer = self._lookups.ask(Question(org_id, action.contact_ref, action.email))
        if answer is None or isinstance(answer, LookupOutcome):
            return self._email(record, action, key, decide(None, answer), answer)
        self._awaiting += 1
        self._awaiting_of[org_id] = of_organisation + 1
        answer.add_done_callback(partial(self._landed, org_id))
        return AwaitingLookup(answer, partial(self._conclude, record, action, key))

    def _may_give_up(self) -> bool:
        now = self._now()
        if not 0 <= now - self._given_up_since < GIVEN_UP_EVERY:
            self._given_up, self._given_up_since = 0, now
        self._given_up += 1
        return self._given_up <= GIVEN_UP_AT_ONCE

    def _landed(self, org_id: int, _: asyncio.Future[LookupOutcome]) -> None:
        self._awaiting -= 1
        left = self._awaiting_of[org_id] - 1
        if left:
            self._awaiting_of[org_id] = left
        else:
            del self._awaiting_of[org_id]

    def _conclude(
        self, record: Record, action: Action, key: bytes, answer: asyncio.Future[LookupOutcome]
    ) -> Result:
        failed = answer.cancelled() or answer.exception() is not None
        outcome = _UNEXPECTED if failed else answer.result()  # our own failure is a failed lookup too
        self._answered(self._partition, key, action.org_id, outcome)
        return self._email(record, action, key, decide(None, outcome), outcome)

    def _email(
        self,
        record: Record,
        action: Action,
        key: bytes,
        letter: tuple[Variant, Reason],
        lookup: LookupOutcome | None,
    ) -> Result:
        variant, reason = letter
        write, offset = self._write, record.offset
        if write is None:
            partition, offset, epoch = self._place(record)
            write = self._writer(partition, epoch).write
            if self._rekeyed_from is None and not self._epochs.starts:
                self._write = write
        value, headers = write(
            offset, action, record.value, record.headers, variant, reason, lookup, self._now()
        )
        outgoing = _new(Outgoing, (self._emails_topic, key, value, headers, None))
        counted_by = action.org_id, reason, lookup and lookup.outcome, lookup and lookup.cause
        outcome = self._outcomes.get(counted_by)
        if outcome is None:
            outcome = emailed(letter, lookup, action.org_id)
            if len(self._outcomes) < _OUTCOMES_KEPT:
                self._outcomes[counted_by] = outcome
        return _new(Result, (outgoing, outcome))

    @property
    def _epochs(self) -> Epochs:
        # No cached_property: it makes every other attribute slower to read, 0.3 microseconds an action.
        if self._known_epochs is None:
            self._known_epochs = self._ask_epochs()
        return self._known_epochs

    def _place(self, record: Record) -> FirstPlace:
        """Return where a record lies in the actions topic; somebody else's record says so itself."""
        moved = None if self._rekeyed_from is None else self._rekeyed_from(record)
        return moved or FirstPlace(self._partition, record.offset, self._epochs.epoch_of(record.offset))

    def _writer(self, partition: int, epoch: int) -> EmailWriter:
        if (writer := self._writers.get((partition, epoch))) is None:
            writer = self._writers[partition, epoch] = EmailWriter(self._topic, partition, epoch)
        return writer

    def _pass_over(self, records: UnreadableRecords) -> Result | None:
        limit = self._dead_letter_limit
        if limit.lets_pass(records):
            at = records.first_offset
            epoch = self._epochs.epoch_of(at) if self._rekeyed_from is None else 0
            letter = unreadable_letter(self._dead_letters_topic, limit.topic, self._partition, records, epoch)
            return Result(self._complete(letter), DeadLettered(ErrorClass.UNREADABLE))
        log.error(
            "%s/%d stops: %s",
            limit.topic,
            self._partition,
            limit.why,
            extra={
                "event": "unreadable_batch",
                "topic": limit.topic,
                "partition": self._partition,
                "offset": records.first_offset,
            },
        )
        return None

    def _dead_letter(self, record: Record, error_class: ErrorClass, json_path: str) -> Result:
        self._dead_letter_limit.note_dead_letter(record.offset, error_class)
        if self._dead_letter_limit.why is not None:
            log.error(
                "%s/%d stops: %s",
                self._topic,
                self._partition,
                self._dead_letter_limit.why,
                extra={
                    "event": "dead_letter_ceiling",
                    "topic": self._topic,
                    "partition": self._partition,
                    "offset": record.offset,
                },
            )
        partition, offset, epoch = self._place(record)
        own = record.headers
        if self._rekeyed_from is not None:
            own = [header for header in own if header[0] not in REKEYED_HEADERS]
        headers = dead_letter_headers(self._topic, partition, offset, own, error_class, json_path, epoch)
        outgoing = Outgoing(self._dead_letters_topic, record.key, record.value, headers)
        return Result(self._complete(outgoing), DeadLettered(error_class))
