"""Matching emails to actions by id."""

import random
from types import SimpleNamespace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.commands.audit.matching import Matching
from streams.commands.topic_reader import RecordId
from streams.delivery.epochs import Epochs
from streams.messages.email import EmailWriter, source_of
from tests.integration.topics import action

TOPIC = "actions"


def acted(offset: int, value: bytes | None = None, timestamp: int = 0) -> Any:
    value = orjson.dumps(action(offset)) if value is None else value
    return SimpleNamespace(offset=offset, value=value, timestamp=timestamp)


def mailed(offset: int, partition: int = 0, topic: str = TOPIC, timestamp: int = 0, epoch: int = 0) -> Any:
    headers = (
        ("ce_id", EmailWriter(topic, partition, epoch).id_of(offset).encode()),
        ("ce_source", f"/{source_of(topic, partition, epoch)}".encode()),
    )
    return SimpleNamespace(headers=headers, timestamp=timestamp)


def around(_: int) -> tuple[range, ...]:
    return (range(1_000, 1_100), range(0))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_of_reading_gives_the_same_count(data: st.DataObject) -> None:
    """Whatever the order and whichever side is ahead: missing, doubled and unasked are what was put there."""
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    fates = {
        offset: data.draw(st.sampled_from(["ok", "missing", "doubled", "ignored", "unasked", "dead"]))
        for offset in range(12)
    }
    named = {fate: [offset for offset, each in fates.items() if each == fate] for fate in fates.values()}
    events: list[tuple[str, Any]] = []
    for offset, fate in fates.items():
        value = orjson.dumps(action(offset, stage="deliver")) if fate in ("ignored", "unasked") else None
        events.append(("action", acted(offset, value)))
        emails = {"ok": 1, "doubled": 2, "unasked": 1}.get(fate, 0)
        events += [("email", mailed(offset))] * emails
    dice.shuffle(events)
    matching = Matching(TOPIC, {0: range(12)}, {0: frozenset(named.get("dead", ()))})
    for kind, record in events:
        if kind == "action":
            matching.actions(0, [record])
        else:
            matching.emails([record])
    unasked, unattributed = matching.resolve(around)
    assert [owed.id.offset for owed in matching.owed] == named.get("missing", [])
    assert [place.offset for place in matching.doubled] == named.get("doubled", [])
    assert (unasked, unattributed) == (len(named.get("unasked", ())), 0)
    counts = matching.counts
    assert counts.emails == len(named.get("ok", ())) + 2 * len(named.get("doubled", ()))
    assert counts.dead_lettered == len(named.get("dead", ()))
    assert counts.ignored == sum(fate in ("ignored", "unasked") for fate in fates.values())
    assert counts.records == 12


def test_what_was_passed_over_waits_no_longer() -> None:
    """An id that nobody waits for, or of an action outside the range, counts as nothing."""
    matching = Matching(TOPIC, {0: range(1, 3)})
    matching.actions(0, [acted(offset) for offset in range(3)])
    matching.passed_over([EmailWriter(TOPIC, 0).id_of(offset).encode() for offset in (0, 1, 1, 9)])
    matching.passed_over([b"\xff"])
    assert [owed.id.offset for owed in matching.owed] == [2]
    assert (matching.waiting, matching.counts.duplicates, matching.counts.asked) == (1, 1, 2)


def test_what_asks_for_no_email_is_owed_none() -> None:
    """By the worker's own rule: no consent, another stage; repeat signers only where they are mailed."""
    values = [
        orjson.dumps(action(0, privacy={"withConsent": False})),
        orjson.dumps(action(1, stage="deliver", contact={"contactRef": "r", "email": "e", "dupeRank": 1})),
        orjson.dumps(action(2, privacy={"withConsent": True})),
    ]
    for repeats_at, owed in ((None, [2]), ("deliver", [1, 2])):
        matching = Matching(TOPIC, {0: range(10)}, repeats_at=repeats_at)
        matching.actions(0, [acted(offset, value) for offset, value in enumerate(values)])
        assert [each.id.offset for each in matching.owed] == owed
        assert matching.counts.ignored == len(values) - len(owed)


def test_only_the_range_counts() -> None:
    """Actions before and after it find their emails, and are in no number."""
    matching = Matching(TOPIC, {0: range(5, 8)})
    matching.actions(0, [acted(offset) for offset in range(3, 10)])
    matching.emails([mailed(offset) for offset in (3, 4, 5, 7, 8)])
    assert [owed.id for owed in matching.owed] == [RecordId(0, 6)]
    assert (matching.counts.records, matching.counts.asked, matching.counts.emails) == (3, 3, 2)
    assert matching.waiting == 2  # 6 and 9


def test_an_email_of_an_action_that_was_not_read_is_attributed_by_its_id() -> None:
    """One before or after the range is recognised by computing ids; one of no known offset is told."""
    matching = Matching(TOPIC, {0: range(100, 101)})
    matching.emails([mailed(1_050), mailed(7), mailed(999_999)])
    assert matching.resolve(lambda _: (range(1_000, 1_100), range(99, -1, -1))) == (0, 1)
    assert matching.doubled == []


def test_emails_from_elsewhere_are_counted_apart() -> None:
    """Another source, another partition than there is, or no headers at all: foreign, and not judged."""
    matching = Matching(TOPIC, {0: range(10)})
    nothing = SimpleNamespace(headers=(), timestamp=0)
    matching.emails([mailed(1, topic="others"), mailed(1, partition=7), nothing])
    assert matching.counts.foreign == 3
    assert matching.resolve(around) == (0, 0)


def test_an_email_beside_a_dead_letter_is_a_double() -> None:
    """An action that became a dead letter, and has an email too, was answered twice."""
    matching = Matching(TOPIC, {0: range(10)}, {0: frozenset({4})})
    matching.actions(0, [acted(4)])
    matching.emails([mailed(4)])
    matching.resolve(around)
    assert matching.doubled == [RecordId(0, 4)]


def test_an_unreadable_action_without_dead_letter_is_owed_one() -> None:
    """It has no actionId, and nothing of its content is kept."""
    matching = Matching(TOPIC, {0: range(10)})
    matching.actions(0, [acted(2, b"{", timestamp=77)])
    (owed,) = matching.owed
    assert owed == (RecordId(0, 2), 77, None)
    assert matching.counts.unreadable == 1


def test_what_waits_does_not_grow_with_what_was_read() -> None:
    """After 20,000 matched pairs nothing is kept but a bit for each offset."""
    matching = Matching(TOPIC, {0: range(20_000)})
    value = orjson.dumps(action(1))
    for start in range(0, 20_000, 500):
        matching.actions(0, [acted(offset, value) for offset in range(start, start + 500)])
        matching.emails([mailed(offset) for offset in range(start, start + 500)])
        assert matching.waiting == 0
    assert matching.actions_ahead == 0
    assert matching.counts.emails == 20_000


def test_an_earlier_email_rescues_what_seemed_missing() -> None:
    """Emails from before what was read are looked through for what is owed, and for nothing else."""
    matching = Matching(TOPIC, {0: range(10)})
    matching.actions(0, [acted(1), acted(2)])
    matching.rescue([mailed(1), mailed(5)])
    assert [owed.id.offset for owed in matching.owed] == [2]
    assert matching.resolve(around) == (0, 0)


def test_emails_of_a_log_that_is_gone_are_neither_doubled_nor_foreign() -> None:
    """Its topic was made again: the same offsets are owed emails of the new epoch, and have two of them."""
    matching = Matching(TOPIC, {0: range(5)}, epochs={0: Epochs(1, ((0, 2),))})
    matching.emails(mailed(offset, epoch=epoch) for epoch in (0, 1) for offset in range(9))
    matching.actions(0, map(acted, range(5)))
    matching.emails(mailed(offset, epoch=2) for offset in (0, 3))
    assert matching.resolve(around) == (0, 0)
    assert [owed.id.offset for owed in matching.owed] == [1, 2, 4]
    assert (matching.counts.emails, matching.counts.earlier_log, matching.counts.foreign) == (2, 18, 0)
    assert matching.doubled == []


def test_a_log_that_was_cut_keeps_its_emails_up_to_the_cut() -> None:
    """Before the cut an action has the email of its epoch; what was cut off is of an earlier log."""
    matching = Matching(TOPIC, {0: range(8)}, epochs={0: Epochs(1, ((5, 1),))})
    matching.actions(0, map(acted, range(8)))
    matching.emails(mailed(offset) for offset in range(20))
    matching.emails(mailed(offset, epoch=1) for offset in (5, 6, 6))
    assert matching.resolve(around) == (0, 0)
    assert [owed.id.offset for owed in matching.owed] == [7]
    assert (matching.counts.emails, matching.counts.earlier_log) == (8, 15)
    assert matching.doubled == [RecordId(0, 6)]
