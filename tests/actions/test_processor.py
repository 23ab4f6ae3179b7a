"""What becomes of one action record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.actions.dead_letter import (
    LEAST,
    SHORTENED_TO,
    DeadLetterLimit,
    read_dead_letter_headers,
    with_key,
)
from streams.actions.outcomes import DeadLettered, Emailed, Ignored, Rekeyed
from streams.actions.processor import GIVEN_UP_AT_ONCE, GIVEN_UP_EVERY, ActionProcessor
from streams.actions.rekeying import REKEYED_FROM, REKEYED_TIMESTAMP, Rekeying, rekeyed_from
from streams.delivery.epochs import Epochs
from streams.delivery.results import AwaitingLookup, PutOff, Result
from streams.delivery.transaction import Outgoing, RecordRefused, RecordTooLarge
from streams.lookup.client import Question
from streams.messages.decode import Cause, ErrorClass, LookupOutcome, Outcome
from streams.messages.email import EmailWriter
from streams.messages.keys import partition_of
from streams.messages.unreadable import UnreadableRecords

EXISTING = LookupOutcome(Outcome.EXISTING, custom_fields=b'{"isSubscribed":true}')
NON_EXISTING = LookupOutcome(Outcome.NON_EXISTING)
TIMEOUT = LookupOutcome(Outcome.ERROR, Cause.TIMEOUT)
CANARY = "canary-7f3a"
TOO_LARGE = RecordTooLarge(0, 1_000, 2_000)

Answer = LookupOutcome | asyncio.Future[LookupOutcome] | None


@dataclass(frozen=True)
class FakeRecord:
    """A consumed record."""

    offset: int = 5
    value: bytes | None = b""
    key: bytes | None = b"310:ref"
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 1_764_000_000_000


@dataclass
class FakeStatuses:
    """Knows what the test tells it, whatever the time."""

    known: dict[bytes, bool] = field(default_factory=dict)
    asked: list[tuple[int, bytes, float]] = field(default_factory=list)

    def subscribed(self, partition: int, key: bytes, now: float) -> bool | None:
        self.asked.append((partition, key, now))
        return self.known.get(key)


class FakeLookups:
    """Answers as the test says; by default it keeps the question open."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.open: list[asyncio.Future[LookupOutcome]] = []
        self.reply: Callable[[Question], Answer] = self._later
        self.fast_ones: set[int] = set()
        self.unasked: Callable[[int], LookupOutcome | str | None] = lambda _: "ask"

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return self.reply(question)

    def is_fast(self, org_id: int) -> bool:
        return org_id in self.fast_ones

    def _later(self, _: Question) -> asyncio.Future[LookupOutcome]:
        self.open.append(asyncio.get_running_loop().create_future())
        return self.open[-1]


class Bench:
    """A confirmation with everything around it."""

    def __init__(self, most: int = 100, of_organisation: int = 100, **more: Any) -> None:
        self.statuses = FakeStatuses()
        self.lookups = FakeLookups()
        self.answered: list[tuple[int, bytes, int, LookupOutcome]] = []
        self.now = 1_764_000_001.5
        self.confirmation = ActionProcessor(
            "actions",
            3,
            emails_topic="emails",
            dead_letters_topic="dlq",
            subscribed=self.statuses.subscribed,
            lookups=self.lookups,
            now=lambda: self.now,
            lookups_most=most,
            lookups_most_per_organisation=of_organisation,
            answered=lambda *told: self.answered.append(told),
            **more,
        )
        self.process = self.confirmation.process

    def refused(self, record: FakeRecord, result: Result, by: Exception = TOO_LARGE) -> Result:
        """What the record comes to when the broker refuses that result."""
        instead = self.confirmation.on_refused(record, result, by)
        assert instead is not None
        return instead


def action(org_id: int = 310, ref: str = "ref", **more: Any) -> bytes:
    contact = {"contactRef": ref, "email": f"{CANARY}@example.org", "firstName": CANARY}
    document = {"stage": "supporter_confirm", "actionId": 7, "orgId": org_id, "contact": contact}
    return orjson.dumps(document | more)


def asks(org_id: int = 310, ref: str = "ref", **more: Any) -> FakeRecord:
    return FakeRecord(value=action(org_id, ref), **more)


def concluded(processed: Result | AwaitingLookup | None) -> Result:
    """The result, also of a lookup that is over."""
    assert processed is not None
    return processed.conclude(processed.answer) if isinstance(processed, AwaitingLookup) else processed


def written(result: Result) -> Outgoing:
    assert result.outgoing is not None
    return result.outgoing


def email(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(written(result).value or b"")
    return document


def why(result: Result) -> str:
    return dict(written(result).headers)["__streams.errors.exception"].decode()


# -- what is known, and what need not be -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "variant", "reason"),
    [(True, "one_button", "known_subscribed"), (False, "two_button", "known_not_subscribed")],
)
def test_a_known_status_makes_the_email_without_a_lookup(known: bool, variant: str, reason: str) -> None:
    """Who is known is not looked up: the email is ready at once, and counted without a lookup."""
    bench = Bench()
    bench.statuses.known[b"310:ref"] = known
    result = concluded(bench.process(asks()))
    document = email(result)
    assert (document["variant"], document["reason"], document["lookup"]) == (variant, reason, None)
    assert document["action"] == orjson.loads(action())
    assert result.outcome == Emailed(variant, reason, "", "", 310)
    assert (written(result).topic, written(result).key) == ("emails", b"310:ref")
    assert bench.lookups.questions == []


def test_the_status_is_looked_for_in_the_action_s_partition_by_organisation_and_contact() -> None:
    """The join key is orgId:contactRef, whatever the record's own key is, at the time of the clock."""
    bench = Bench()
    bench.statuses.known[b"311:ref"] = True
    bench.lookups.reply = lambda _: None
    result = concluded(bench.process(asks(310, key=b"311:ref")))
    assert email(result)["variant"] == "two_button"
    assert bench.statuses.asked == [(3, b"310:ref", 1_764_000_001.5)]


@pytest.mark.parametrize(
    ("value", "why"),
    [(None, "tombstone"), (b'{"stage":"deliver"}', "stage")],
)
def test_what_asks_for_no_email_is_ignored(value: bytes | None, why: str) -> None:
    """A null value and a message of another stage write nothing, and are counted."""
    assert Bench().process(FakeRecord(value=value)) == Result(None, Ignored(why))


@pytest.mark.parametrize(
    ("value", "error_class", "path"),
    [
        (b"\xff", ErrorClass.NOT_UTF8, "$"),
        (b"", ErrorClass.NOT_JSON, "$"),
        (b"{", ErrorClass.NOT_JSON, "$"),
        (b"[]", ErrorClass.NOT_AN_OBJECT, "$"),
        (action(actionId="7"), ErrorClass.FIELD_TYPE, "$.actionId"),
        (action(orgId=True), ErrorClass.FIELD_TYPE, "$.orgId"),
        (action(contact={"contactRef": "ref"}), ErrorClass.FIELD_MISSING, "$.contact.email"),
        (action(ref=" "), ErrorClass.FIELD_EMPTY, "$.contact.contactRef"),
        (action(ref="REF").replace(b"REF", b"\\ud800"), ErrorClass.FIELD_VALUE, "$.contact.contactRef"),
    ],
)
def test_what_no_email_can_be_made_from_is_a_dead_letter(
    value: bytes, error_class: ErrorClass, path: str
) -> None:
    """The original bytes, key and headers are kept, with whence and why, and the class is counted."""
    record = FakeRecord(41, value, b"\xfe key", (("traceparent", b"00-1"), ("traceparent", b"00-2")))
    result = concluded(Bench().process(record))
    assert result.outcome == DeadLettered(error_class)
    letter = result.outgoing
    assert letter is not None
    assert (letter.topic, letter.key, letter.value) == ("dlq", b"\xfe key", value)
    assert letter.headers == [
        ("traceparent", b"00-1"),
        ("traceparent", b"00-2"),
        ("__streams.errors.topic", b"actions"),
        ("__streams.errors.partition", b"3"),
        ("__streams.errors.offset", b"41"),
        ("__streams.errors.exception", error_class.encode()),
        ("errors.json-path", path.encode()),
    ]


# -- lookups ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "variant", "reason"),
    [
        (EXISTING, "one_button", "lookup_subscribed"),
        (NON_EXISTING, "two_button", "lookup_not_subscribed"),
        (TIMEOUT, "two_button", "lookup_failed"),
    ],
)
async def test_a_lookup_that_answers_later_makes_the_email_then(
    outcome: LookupOutcome, variant: str, reason: str
) -> None:
    """A missing status waits for its lookup only; what it came to is in the email, the count, and is told."""
    bench = Bench()
    pending = bench.process(asks())
    assert isinstance(pending, AwaitingLookup)
    assert bench.lookups.questions == [Question(310, "ref", f"{CANARY}@example.org")]
    assert bench.answered == []
    bench.lookups.open[0].set_result(outcome)
    result = concluded(pending)
    document = email(result)
    assert (document["variant"], document["reason"]) == (variant, reason)
    assert document["lookup"] == {
        "outcome": outcome.outcome,
        "cause": outcome.cause,
        "customFields": orjson.loads(outcome.custom_fields or b"{}"),
    }
    assert result.outcome == Emailed(variant, reason, outcome.outcome, outcome.cause or "", 310)
    assert bench.answered == [(3, b"310:ref", 310, outcome)]


async def test_a_lookup_that_was_cancelled_or_broke_is_a_failed_lookup() -> None:
    """A future without a result gives two buttons, cause unexpected, and no dead letter."""
    bench = Bench()
    processed = [bench.process(asks()) for _ in range(2)]
    cancelled, broken = bench.lookups.open
    cancelled.cancel()
    broken.set_exception(ZeroDivisionError(CANARY))
    for pending in processed:
        result = concluded(pending)
        assert result.outcome == Emailed("two_button", "lookup_failed", "error", "unexpected", 310)
        assert email(result)["lookup"]["cause"] == "unexpected"


@pytest.mark.parametrize("outcome", [EXISTING, NON_EXISTING, TIMEOUT])
def test_a_lookup_that_is_answered_at_once_needs_no_waiting(outcome: LookupOutcome) -> None:
    """An outcome that is there already makes the email in the same breath."""
    bench = Bench()
    bench.lookups.reply = lambda _: outcome
    result = bench.process(asks())
    assert isinstance(result, Result)
    assert result.outcome.lookup_outcome == outcome.outcome


def test_an_organisation_without_a_lookup_gets_two_buttons() -> None:
    """Nobody to ask: two buttons, reason no_lookup, no lookup counted."""
    bench = Bench()
    bench.lookups.reply = lambda _: None
    result = concluded(bench.process(asks()))
    assert result.outcome == Emailed("two_button", "no_lookup", "", "", 310)
    assert email(result)["lookup"] is None


# -- how many may wait -----------------------------------------------------------------------------------


async def test_beyond_the_limit_of_all_a_slow_lookup_is_not_waited_for() -> None:
    """With the room taken, an action of a slow organisation gets two buttons at once, and nobody is asked."""
    bench = Bench(most=2)
    assert all(isinstance(bench.process(asks(org_id)), AwaitingLookup) for org_id in (1, 2))
    result = bench.process(asks(3))
    assert isinstance(result, Result)
    assert result.outcome == Emailed("two_button", "lookup_failed", "error", "saturated", 3)
    assert email(result)["lookup"] == {"outcome": "error", "cause": "saturated", "customFields": {}}
    assert [question.org_id for question in bench.lookups.questions] == [1, 2]
    assert bench.answered == []


async def test_one_organisation_cannot_take_all_the_room() -> None:
    """An organisation at its own limit is saturated, while another one is still looked up."""
    bench = Bench(most=3, of_organisation=2)
    assert all(isinstance(bench.process(asks(1)), AwaitingLookup) for _ in range(2))
    assert isinstance(bench.process(asks(1)), Result)
    assert isinstance(bench.process(asks(2)), AwaitingLookup)


async def test_a_fast_lookup_is_waited_for() -> None:
    """At a limit, an action of an organisation that answers fast is put off, and asked about later."""
    bench = Bench(of_organisation=1)
    bench.lookups.fast_ones.add(1)
    assert isinstance(bench.process(asks(1)), AwaitingLookup)
    assert bench.process(asks(1)) is PutOff.UNTIL_ANSWERED
    assert len(bench.lookups.questions) == 1
    bench.lookups.open[0].set_result(NON_EXISTING)
    await asyncio.sleep(0)
    assert isinstance(bench.process(asks(1)), AwaitingLookup)


async def test_only_so_many_at_once_go_without_their_lookup() -> None:
    """A service that hesitates for a moment costs few their answer; one that hangs holds up nobody long."""
    bench = Bench(most=1)
    assert isinstance(bench.process(asks(1)), AwaitingLookup)
    for _ in range(3):
        processed = [bench.process(asks(1)) for _ in range(GIVEN_UP_AT_ONCE + 5)]
        assert [isinstance(each, Result) for each in processed] == [True] * GIVEN_UP_AT_ONCE + [False] * 5
        bench.now += GIVEN_UP_EVERY * 1.01
    bench.now -= 3600
    assert isinstance(bench.process(asks(1)), Result), "a clock that was set back stops nothing"


async def test_at_the_limit_who_is_known_still_passes() -> None:
    """A known supporter's email waits for nobody's lookup."""
    bench = Bench(most=1)
    bench.lookups.fast_ones |= {1, 2}
    bench.statuses.known[b"2:ref"] = True
    assert isinstance(bench.process(asks(1)), AwaitingLookup)
    assert bench.process(asks(1)) is PutOff.UNTIL_ANSWERED
    assert concluded(bench.process(asks(2))).outcome.reason == "known_subscribed"


@settings(deadline=None)
@given(st.data())
def test_every_record_has_exactly_one_result_and_the_room_comes_back(data: st.DataObject) -> None:
    """Whatever lookups do, and in whatever order they end, each record gets one email or is put off once."""

    async def scenario() -> None:
        most = data.draw(st.integers(1, 6), "most")
        bench = Bench(most=most, of_organisation=data.draw(st.integers(1, most), "per organisation"))
        bench.lookups.fast_ones = data.draw(st.sets(st.integers(1, 3)), "fast")
        kinds = ["later", "later", "later", EXISTING, TIMEOUT, None]
        waiting: list[AwaitingLookup] = []
        for _ in range(data.draw(st.integers(1, 25), "records")):
            org_id = data.draw(st.integers(1, 3), "organisation")
            kind = data.draw(st.sampled_from(kinds), "kind")
            if kind == "later":
                bench.lookups.reply = bench.lookups._later
            else:
                bench.lookups.reply = lambda _, kind=kind: kind  # type: ignore[misc]  # the default binds it now
            asked = len(bench.lookups.questions)
            processed = bench.process(asks(org_id))
            if processed is PutOff.UNTIL_ANSWERED:
                assert org_id in bench.lookups.fast_ones
                assert len(bench.lookups.questions) == asked
                assert waiting, "put off without anybody to wait for"
            elif isinstance(processed, AwaitingLookup):
                waiting.append(processed)
            else:
                assert isinstance(processed.outcome, Emailed)
            assert len(waiting) <= most
            for _ in range(data.draw(st.integers(0, len(waiting)), "ends")):
                await _end(data, waiting.pop(data.draw(st.integers(0, len(waiting) - 1), "which")))
        while waiting:
            await _end(data, waiting.pop())
        # The room is as it was: so many lookups fit again, and not one more.
        bench.lookups.reply = bench.lookups._later
        assert all(isinstance(bench.process(asks(10 + number)), AwaitingLookup) for number in range(most))
        assert isinstance(bench.process(asks(99)), Result)

    asyncio.run(scenario())


async def _end(data: st.DataObject, pending: AwaitingLookup) -> None:
    """Let a lookup end in one of its ways: its record has an email then."""
    match data.draw(st.sampled_from(["answer", "raise", "cancel"]), "ending"):
        case "answer":
            pending.answer.set_result(data.draw(st.sampled_from([EXISTING, NON_EXISTING, TIMEOUT])))
        case "raise":
            pending.answer.set_exception(OSError())
        case "cancel":
            pending.answer.cancel()
    await asyncio.sleep(0)
    one_button = (
        not pending.answer.cancelled()
        and pending.answer.exception() is None
        and pending.answer.result() is EXISTING
    )
    outcome = concluded(pending).outcome
    assert outcome.variant == ("one_button" if one_button else "two_button")


# -- what cannot be written, and bugs --------------------------------------------------------------------


def test_a_dead_letter_is_reduced_until_nothing_is_left_to_leave_out() -> None:
    """Each step has less in it, its outcome stays, and after the bare notice the lane is told to wait."""
    bench = Bench()
    headers = (("traceparent", b"0" * (3 * SHORTENED_TO)), ("n\udce4me", b""))
    record = FakeRecord(value=b"{" * (3 * SHORTENED_TO), headers=headers)
    result: Result | None = concluded(bench.process(record))
    sizes = []
    while result is not None:
        assert result.outcome == DeadLettered("not_json")
        assert why(result) == "not_json"
        letter = written(result)
        sizes.append(len(letter.value or b"") + sum(len(text or b"") for _, text in letter.headers))
        result = bench.confirmation.on_refused(record, result, TOO_LARGE)
    assert len(sizes) > 3
    assert sizes[-1] < 200


def test_an_email_that_is_too_large_leaves_without_the_lookup_s_custom_fields() -> None:
    """It is the same email, marked; only when that is refused, too, it becomes a dead letter."""
    bench = Bench()
    bench.lookups.reply = lambda _: EXISTING
    record = FakeRecord(value=action(comment='"customFields":{"x":1}},"action":{'))
    result = concluded(bench.process(record))
    smaller = bench.refused(record, result)
    assert smaller.outcome == result.outcome
    was, now = email(result), email(smaller)
    assert was["lookup"]["customFields"] == {"isSubscribed": True}
    assert now == {**was, "lookup": {**was["lookup"], "customFields": {}, "customFieldsOmitted": True}}
    refused = bench.refused(record, smaller)
    assert refused.outcome == DeadLettered("too_large")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("answer", [NON_EXISTING, TIMEOUT, None])
def test_an_email_without_custom_fields_that_is_too_large_is_a_dead_letter(
    known: bool, answer: Answer
) -> None:
    """There is nothing to leave out: the action is kept, and counted as a dead letter instead of an email."""
    bench = Bench()
    bench.lookups.reply = lambda _: answer
    bench.statuses.known |= {b"310:ref": True} if known else {}
    record = asks()
    refused = bench.refused(record, concluded(bench.process(record)))
    assert refused.outcome == DeadLettered("too_large")
    assert (written(refused).topic, written(refused).value) == ("dlq", record.value)
    assert why(refused) == "too_large"


def test_what_the_broker_refuses_for_another_reason_becomes_a_dead_letter_with_a_key() -> None:
    """A dead letter without a key gets one when it is refused, and from then on each one has it at once."""
    bench = Bench()
    bench.lookups.reply = lambda _: None
    record = asks(key=None)
    refused = bench.refused(record, concluded(bench.process(record)), RecordRefused(0))
    assert refused.outcome == DeadLettered("refused")
    assert written(refused).key is None
    again = bench.refused(record, refused, RecordRefused(0))
    assert (written(again).key, written(again).value) == (b"actions/3/5", record.value)
    other = concluded(bench.process(FakeRecord(offset=6, value=b"{", key=None)))
    assert written(other).key == b"actions/3/6"


def test_a_compacted_dead_letter_topic_is_given_keys_at_once() -> None:
    """Such a topic refuses records without a key."""
    bench = Bench(complete=with_key)
    result = concluded(bench.process(FakeRecord(offset=6, value=b"{", key=None)))
    assert written(result).key == b"actions/3/6"


def test_a_record_on_which_our_own_code_failed_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """It becomes a dead letter with class internal_error; the log has its place and the exception's class."""
    bench = Bench()
    record = asks(offset=77)
    result = bench.confirmation.on_error(record, KeyError(CANARY))
    assert result.outcome == DeadLettered("internal_error")
    assert written(result).value == record.value
    assert "actions/3/77" in caplog.text
    assert "KeyError" in caplog.text
    assert CANARY not in caplog.text


# -- the ceiling -----------------------------------------------------------------------------------------


def test_too_many_dead_letters_stop_the_partition(caplog: pytest.LogCaptureFixture) -> None:
    """Above the ceiling no record is processed any more, good or bad, and the reason is there to be read."""
    bench = Bench(dead_letter_limit=DeadLetterLimit(0.5, "actions", 3))
    bench.statuses.known[b"310:ref"] = True
    assert bench.confirmation.halted is None
    letters = 0
    while bench.process(FakeRecord(value=b"{")) is not None:
        letters += 1
        assert letters <= LEAST
    assert letters == LEAST
    assert bench.process(asks()) is None
    assert bench.process(FakeRecord(value=None)) is None
    assert bench.confirmation.halted is not None
    assert "DEAD_LETTER_CEILING" in bench.confirmation.halted
    assert caplog.text.count("actions/3 stops") == 1


def test_records_that_nobody_can_read_stop_the_partition_and_become_one_dead_letter_when_accepted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It names the topic that they lie in, perhaps that of the re-keyed actions; the log says it once."""
    limit = DeadLetterLimit(0.5, "moved", 3)
    bench = Bench(dead_letter_limit=limit, rekeyed_from=rekeyed_from)
    records: Any = UnreadableRecords(5, 9, "its header is wrong")
    for _ in range(3):
        assert bench.process(records) is None
    assert bench.confirmation.halted == limit.why
    assert caplog.text.count("moved/3 stops: the records at offsets 5 to 9 of moved/3 cannot be read") == 1
    limit.accept(10)
    assert bench.confirmation.halted is None
    result = concluded(bench.process(records))
    assert result.outcome == DeadLettered("unreadable")
    letter = written(result)
    assert (letter.topic, letter.key, letter.value) == ("dlq", None, None)
    assert letter.headers == [
        ("__streams.errors.topic", b"moved"),
        ("__streams.errors.partition", b"3"),
        ("__streams.errors.offset", b"5"),
        ("__streams.errors.exception", b"unreadable"),
        ("errors.json-path", b"$"),
        ("errors.last-offset", b"9"),
        ("errors.reason", b"its header is wrong"),
    ]


async def test_an_action_that_is_put_off_counts_once() -> None:
    """Processing a waiting action again and again does not make a window of dead letters look good."""
    bench = Bench(most=1, dead_letter_limit=DeadLetterLimit(0.5, "actions", 3))
    bench.lookups.fast_ones.add(1)
    assert isinstance(bench.process(asks(1)), AwaitingLookup)
    for _ in range(LEAST * 3):
        assert bench.process(asks(1)) is PutOff.UNTIL_ANSWERED
    for _ in range(LEAST * 3):
        bench.process(FakeRecord(value=b"{"))
    assert bench.confirmation.halted is not None


# -- actions in a wrong partition
# ----------------------------------------------------------------------------------

ELSEWHERE = next(f"r{n}" for n in range(100) if partition_of(b"310:r%d" % n, 8) != 3)


def test_an_action_in_the_wrong_partition_that_is_not_known_here_is_moved() -> None:
    """It goes into the internal topic, under the key and into the partition of its supporter."""
    bench = Bench(rekeying=Rekeying("moved", 3, 8))
    record = asks(ref=ELSEWHERE, key=None)
    result = concluded(bench.process(record))
    key = f"310:{ELSEWHERE}".encode()
    assert result.outcome == Rekeyed()
    assert (written(result).topic, written(result).key) == ("moved", key)
    assert (written(result).partition, written(result).value) == (partition_of(key, 8), record.value)
    assert bench.lookups.questions == []


def test_an_action_in_the_wrong_partition_that_is_known_here_is_not_moved() -> None:
    """Where the status is in the same wrong partition, the two have met."""
    bench = Bench(rekeying=Rekeying("moved", 3, 8))
    bench.statuses.known[f"310:{ELSEWHERE}".encode()] = False
    assert concluded(bench.process(asks(ref=ELSEWHERE))).outcome.reason == "known_not_subscribed"


def test_a_moved_action_that_its_topic_has_no_room_for_is_not_cut() -> None:
    """Too large to be moved: the whole action becomes a dead letter, since half of it is no action."""
    bench = Bench(rekeying=Rekeying("moved", 3, 8))
    record = FakeRecord(value=action(ref=ELSEWHERE, filler="x" * SHORTENED_TO))
    result = concluded(bench.process(record))
    assert result.outcome == Rekeyed()
    refused = bench.refused(record, result)
    assert refused.outcome == DeadLettered("too_large")
    assert (written(refused).topic, written(refused).value) == ("dlq", record.value)


def test_a_moved_action_s_email_has_the_identity_of_its_first_place() -> None:
    """The email's id and source are those that it would have had without the move."""
    moved, straight = Bench(rekeyed_from=rekeyed_from), Bench()
    for bench in (moved, straight):
        bench.lookups.reply = lambda _: None
    there = FakeRecord(900, action(), headers=((REKEYED_FROM, b"3/5"),))
    one, other = concluded(moved.process(there)), concluded(straight.process(asks(offset=5)))
    assert email(one) == email(other)
    assert one.outgoing == other.outgoing


@pytest.mark.parametrize(("offset", "epoch"), [(5, 0), (150, 1), (200, 4)])
def test_an_epoch_is_part_of_every_identity(offset: int, epoch: int) -> None:
    """Email, moved action and dead letter are of the epoch that their offset belongs to; 0 is not named."""
    moving = Rekeying("moved", 3, 4)
    own, foreign = (
        next(ref for ref in map(str, range(99)) if moving.needed(f"310:{ref}".encode()) is needed)
        for needed in (False, True)
    )
    first = Bench(rekeying=moving, epochs=lambda: Epochs(1, ((100, 1), (200, 4))))
    second = Bench(rekeyed_from=rekeyed_from)
    for bench in (first, second):
        bench.lookups.reply = lambda _: None
    straight = written(concluded(first.process(asks(ref=own, offset=offset))))
    moved = written(concluded(first.process(asks(ref=foreign, offset=offset))))
    there = FakeRecord(900, moved.value, moved.key, tuple(moved.headers))
    for sent in (straight, written(concluded(second.process(there)))):
        headers = dict(sent.headers)
        assert headers["ce_id"] == EmailWriter("actions", 3, epoch).id_of(offset).encode()
        assert headers["ce_source"] == b"/actions/3" + (b"?epoch=%d" % epoch if epoch else b"")
    for bench, record in ((first, FakeRecord(offset)), (second, there)):
        letter = written(bench.confirmation.on_error(record, KeyError()))
        origin = read_dead_letter_headers(letter.headers)
        assert (origin.partition, origin.offset, origin.epoch) == (3, offset, epoch)
        assert ("errors.epoch" in dict(letter.headers)) is (epoch > 0)


def test_a_moved_dead_letter_names_its_first_place_if_it_has_one() -> None:
    """A bug's dead letter says where the action first was; a stranger's record, where it lies."""
    bench = Bench(rekeyed_from=rekeyed_from)
    for headers, place in (
        (((REKEYED_FROM, b"6/50"), (REKEYED_TIMESTAMP, b"5")), (b"6", b"50")),
        ((), (b"3", b"5")),
        (((REKEYED_FROM, b"x"),), (b"3", b"5")),
        (((REKEYED_FROM, None),), (b"3", b"5")),
    ):
        result = bench.confirmation.on_error(FakeRecord(5, b"{}", headers=headers), KeyError())
        found = dict(written(result).headers)
        assert (found["__streams.errors.partition"], found["__streams.errors.offset"]) == place
        assert REKEYED_FROM not in found
        assert REKEYED_TIMESTAMP not in found


@pytest.mark.parametrize("text", [None, b"-5/-7", b"9" * 4_000, b"3"])
def test_an_action_that_nobody_moved_is_a_dead_letter_of_the_internal_topic(text: bytes | None) -> None:
    """Without the place of the action an email would have the identity of another one."""
    bench = Bench(rekeyed_from=rekeyed_from)
    bench.statuses.known[b"310:ref"] = True
    result = concluded(bench.process(asks(headers=((REKEYED_FROM, text),))))
    assert result.outcome == DeadLettered("field_value")
    assert dict(written(result).headers)["errors.json-path"] == b"$headers.rekeyed-from"


# -- privacy ---------------------------------------------------------------------------------------------


async def test_nothing_personal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Good, bad, failed and refused records leave no trace of a person in the log, at any level."""
    caplog.set_level(logging.DEBUG)
    bench = Bench(most=1, dead_letter_limit=DeadLetterLimit(0.5, "actions", 3))
    record = FakeRecord(value=action(ref=CANARY), key=CANARY.encode())
    pending = bench.process(record)
    bench.lookups.open[0].set_exception(ValueError(CANARY))
    result = concluded(pending)
    letter = bench.refused(record, result)
    bench.confirmation.on_refused(record, letter, TOO_LARGE)
    bench.process(record)
    bench.confirmation.on_error(record, ValueError(CANARY))
    for _ in range(LEAST + 1):
        bench.process(FakeRecord(value=action()[:-3], key=CANARY.encode()))
    assert bench.confirmation.halted is not None
    assert caplog.records
    assert CANARY not in "".join(logging.Formatter().format(each) for each in caplog.records)
