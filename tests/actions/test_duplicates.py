"""The same action twice: a real lane, with a cluster and a processor of a few lines. Time is virtual."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.actions.duplicates import Duplicates
from streams.actions.outcomes import DeadLettered, Emailed, Ignored, Rekeyed
from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.letter_marks import MarkingTransactions, MarkRecord
from streams.delivery.results import AwaitingLookup, Record, Result
from streams.delivery.transaction import Outgoing, Position, RecordRefused, RecordTooLarge
from tests.delivery.fakes import (
    Ending,
    FakeLog,
    FakeObserver,
    FakeRecord,
    FakeTransactions,
    microseconds,
    soon,
)
from tests.lookup.virtual_time import VirtualLoop

EMAILS, DEAD_LETTERS, MARKS = "emails", "dlq", "marks"
WINDOW = 600.0
EMAILED = Emailed("two_button", "no_lookup", "", "", 310)
DUPLICATE = Ignored("duplicate")
#: Bytes that an email may have; an action with a long comment has more, one with custom fields a few less.
ROOM = 100


def acts(offset: int, action_id: int = 7, kind: str = "known", more: str = "") -> FakeRecord:
    """An action; its kind says what the processor makes of it."""
    value = f'{{"kind":"{kind}","actionId":{action_id}{more}}}'
    return FakeRecord(offset, value.encode())


#: Too much for an email: it becomes a dead letter.
LARGE = ',"comment":"%s"' % ("x" * ROOM)
REMINDER = ',"action":{"customFields":{"reminder":true}}'


class MarkLog(FakeLog):
    """What the cluster has, marks included."""

    def apply(self, records: list[Outgoing], position: Position) -> None:
        self.written += records
        self.position = position

    def of(self, topic: str) -> list[bytes]:
        """The source offsets of what was written to a topic, marks without those of letters."""
        return [
            (record.key or b"").removeprefix(b"passed-over/")
            if topic == MARKS
            else dict(record.headers)["ce_id"]
            for record in self.written
            if record.topic == topic and not (record.key or b"").startswith(b"letter/")
        ]

    @property
    def letters(self) -> list[int]:
        """The offsets of the actions whose emails were written."""
        return [int(each) for each in self.of(EMAILS)]

    @property
    def passed_over(self) -> list[int]:
        """The offsets of the actions that were passed over."""
        return [int(each) for each in self.of(MARKS)]

    @property
    def buried(self) -> list[int]:
        """The offsets of the actions that became dead letters."""
        return [int(each) for each in self.of(DEAD_LETTERS)]


class FakeProcessor:
    """Makes what a record's kind says."""

    halted: str | None = None

    def __init__(self) -> None:
        self.answers: dict[int, asyncio.Future[Any]] = {}

    def process(self, record: Record) -> Result | AwaitingLookup | None:
        if b'"lookup"' in record.value:
            self.answers[record.offset] = answer = asyncio.get_running_loop().create_future()
            return AwaitingLookup(answer, lambda answer: self._conclude(record, answer.result()))
        if b'"stage"' in record.value:
            return Result(None, Ignored("stage"))
        if b'"rekeyed"' in record.value:
            return Result(Outgoing("rekeyed", b"310:ref", record.value, []), Rekeyed())
        return self._email(record)

    def answer(self, offset: int, *, found: object = None) -> None:
        """Let a lookup end; with an exception, the processor's own code fails."""
        if isinstance(found, Exception):
            self.answers[offset].set_exception(found)
        else:
            self.answers[offset].set_result(found)

    def on_refused(self, record: Record, result: Result, refused: RecordRefused) -> Result | None:
        assert result.outgoing is not None
        if isinstance(refused, RecordTooLarge) and b"customFields" in (result.outgoing.value or b""):
            return result._replace(outgoing=result.outgoing._replace(value=b"smaller"))
        return self.on_error(record, refused)

    def on_error(self, record: Record, exc: BaseException) -> Result:
        return Result(self._outgoing(record, DEAD_LETTERS, b"dead"), DeadLettered("too_large"))

    def _conclude(self, record: Record, _: object) -> Result:
        return self._email(record)

    def _email(self, record: Record) -> Result:
        return Result(self._outgoing(record, EMAILS, record.value), EMAILED)

    def _outgoing(self, record: Record, topic: str, value: bytes) -> Outgoing:
        return Outgoing(topic, b"310:ref", value, [("ce_id", b"%d" % record.offset)])


class Bench:
    """A worker's lane of one partition, and a second one for the same number where a test wants that."""

    def __init__(self, log: MarkLog | None = None, duplicates: Duplicates | None = None) -> None:
        self.log = MarkLog(limits={EMAILS: ROOM}) if log is None else log
        self.duplicates = duplicates or Duplicates(WINDOW, MARKS, self._read, microseconds)
        self.transactions, self.processor, self.observer = (
            FakeTransactions(self.log),
            FakeProcessor(),
            FakeObserver(),
        )
        self.crashes: list[Exception] = []
        marking, processor = self.duplicates.watched(3, 8, self.transactions, self.processor)
        assert isinstance(marking, MarkingTransactions)
        self.marking = marking
        self.lane = Lane(
            3,
            marking,
            processor,
            self.observer,
            clock=microseconds,
            on_crash=self.crashes.append,
            limits=LaneLimits(backoff=0.0, close_within=0.2),
        )

    async def _read(self, partition: int, most: int, since: float) -> list[MarkRecord]:
        assert (partition, most) == (3, 75_000)
        return [(each.key, each.value, microseconds()) for each in self.log.written if each.topic == MARKS]

    async def open(self) -> Bench:
        async def begin(committed: Position) -> Position:
            return committed

        await self.lane.open(begin)
        return self

    async def take(self, *records: FakeRecord) -> None:
        self.lane.offer(records)
        await soon()
        assert self.crashes == []


@pytest.fixture
async def bench(virtual_time: None) -> AsyncIterator[Bench]:
    opened = await Bench().open()
    yield opened
    await opened.lane.close()


async def test_the_same_action_within_the_window_is_passed_over(bench: Bench) -> None:
    """It is counted as a duplicate and leaves its id and that of the letter; after the window it has one."""
    await bench.take(acts(0), acts(1))
    await asyncio.sleep(WINDOW - 1)
    await bench.take(acts(2))
    assert (bench.log.letters, bench.log.passed_over) == ([0], [1, 2])
    assert bench.observer.outcomes == [EMAILED, DUPLICATE, DUPLICATE]
    passed = [each for each in bench.log.written if each.key == b"passed-over/1"]
    assert [(each.topic, each.value) for each in passed] == [(MARKS, b"0")]
    await asyncio.sleep(2)
    await bench.take(acts(3), acts(4))
    assert (bench.log.letters, bench.log.passed_over) == ([0, 3], [1, 2, 4])


async def test_other_actions_and_reminders_have_their_own_letters(bench: Bench) -> None:
    """A reminder of the same action is another letter, and one reminder is enough."""
    await bench.take(acts(0), acts(1, 8), acts(2, more=REMINDER), acts(3, more=REMINDER))
    assert (bench.log.letters, bench.log.passed_over) == ([0, 1, 2], [3])


async def test_what_is_no_email_is_none_of_its_business(bench: Bench) -> None:
    """Ignored, re-keyed and dead letters stay as they are, however often they come."""
    await bench.take(*(acts(n, kind=kind) for n, kind in enumerate(["stage", "rekeyed"] * 2)))
    assert bench.observer.outcomes == [Ignored("stage"), Rekeyed()] * 2
    assert [each.topic for each in bench.log.written] == ["rekeyed", "rekeyed"]


@pytest.mark.parametrize("first", [0, 1])
async def test_a_repeat_while_the_lookup_is_under_way_has_no_letter(bench: Bench, first: int) -> None:
    """Whichever of the two is decided first has the letter, and nobody waits for the other."""
    await bench.take(acts(0, kind="lookup"), acts(1, kind="lookup"))
    bench.processor.answer(first)
    await soon()
    assert bench.log.letters == [first]
    bench.processor.answer(1 - first)
    await soon()
    assert (bench.log.letters, bench.log.passed_over) == ([first], [1 - first])


async def test_a_first_action_that_fails_leaves_the_letter_to_the_second(bench: Bench) -> None:
    """Its lookup's conclusion fails, and it becomes a dead letter: the second one has the letter."""
    await bench.take(acts(0, kind="lookup"), acts(1, kind="lookup"))
    bench.processor.answer(0, found=ZeroDivisionError())
    bench.processor.answer(1)
    await soon()
    assert (bench.log.buried, bench.log.letters, bench.log.passed_over) == ([0], [1], [])


async def test_a_refused_first_letter_leaves_it_to_the_second_of_the_same_transaction(bench: Bench) -> None:
    """The first one's email is too large and becomes a dead letter; the second was passed over for it."""
    await bench.take(acts(0, more=LARGE), acts(1), acts(2))
    assert (bench.log.buried, bench.log.letters, bench.log.passed_over) == ([0], [1], [2])
    assert bench.observer.outcomes == [DeadLettered("too_large"), EMAILED, DUPLICATE]


async def test_nothing_is_kept_of_a_letter_that_is_not_written(bench: Bench) -> None:
    """A worker that meets too large actions for months remembers none of them."""
    await bench.take(acts(0, more=LARGE), acts(1, 8))
    assert (bench.log.buried, bench.log.letters) == ([0], [1])
    assert bench.marking._uncommitted == {}


async def test_a_letter_that_is_made_smaller_still_counts(bench: Bench) -> None:
    """Its email leaves without the custom fields, and its repeat is passed over."""
    large = ',"action":{"customFields":{"comment":"%s"}}' % ("x" * ROOM)
    await bench.take(acts(0, more=large), acts(1))
    assert (bench.log.letters, bench.log.passed_over, bench.log.buried) == ([0], [1], [])
    assert bench.log.written[0].value == b"smaller"


async def test_a_successor_knows_the_letters_and_a_record_that_is_read_again_is_not_its_own_repeat(
    bench: Bench,
) -> None:
    """A person sets the offset back: the first action has its email again, its repeat has none."""
    await bench.take(acts(0))
    bench.log.position = Position(0, "")
    successor = await Bench(bench.log).open()
    await successor.take(acts(0), acts(1))
    assert (bench.log.letters, bench.log.passed_over) == ([0, 0], [1])
    await successor.lane.close()


async def test_a_lost_answer_loses_no_mark(bench: Bench) -> None:
    """The transaction was committed, and nobody heard: the letter is read from the topic."""
    bench.transactions.commits.append(Ending.ANSWER_LOST)
    await bench.take(acts(0))
    await asyncio.sleep(10)
    await bench.take(acts(1))
    assert (bench.log.letters, bench.log.passed_over) == ([0], [1])


async def test_the_lane_of_rekeyed_actions_shares_what_is_committed(bench: Bench) -> None:
    """A letter of the one lane counts in the other; one that is not committed yet does not."""
    twin = await Bench(MarkLog(limits={EMAILS: ROOM}), bench.duplicates).open()
    await bench.take(acts(0), acts(1, 8, kind="lookup"))
    await twin.take(acts(100), acts(101, 8))
    assert (twin.log.letters, twin.log.passed_over) == ([101], [100])
    bench.processor.answer(1)
    await soon()
    assert (bench.log.letters, bench.log.passed_over) == ([0], [1])
    await twin.lane.close()


# -- under whatever happens ------------------------------------------------------------------------------


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("act"),
            st.lists(
                st.tuples(
                    st.integers(0, 2),
                    st.sampled_from(["known", "known", "lookup", "lookup", "large", "stage"]),
                ),
                min_size=1,
                max_size=4,
            ),
            st.none(),
        ),
        st.tuples(
            st.just("answer"), st.integers(0, 5), st.sampled_from([None, None, None, ZeroDivisionError()])
        ),
        st.tuples(st.just("trouble"), st.sampled_from([Ending.FAILED, Ending.ANSWER_LOST]), st.none()),
        st.tuples(st.just("crash"), st.none(), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, WINDOW / 2]), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_happens_somebody_has_a_letter(steps: list[tuple[str, Any, Any]]) -> None:
    """Each action is settled once; where one was passed over, another one about the same has its email."""
    logging.getLogger("streams.delivery.lane").setLevel(logging.CRITICAL)
    loop = VirtualLoop()
    try:
        loop.run_until_complete(_happens(steps))
        loop.run_until_complete(asyncio.sleep(1))
        assert loop.accidents == []
    finally:
        logging.getLogger("streams.delivery.lane").setLevel(logging.NOTSET)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


async def _happens(steps: list[tuple[str, Any, Any]]) -> None:
    records: list[FakeRecord] = []
    bench = await Bench().open()
    log = bench.log
    for step, which, what in [*steps, ("crash", None, None)]:
        if step == "act":
            chunk = [
                acts(offset, action_id, kind, LARGE if kind == "large" else "")
                for offset, (action_id, kind) in enumerate(which, len(records))
            ]
            records += chunk
            await bench.take(*chunk)
        elif step == "answer":
            open_ones = [offset for offset, each in bench.processor.answers.items() if not each.done()]
            if open_ones:
                bench.processor.answer(open_ones[which % len(open_ones)], found=what)
        elif step == "trouble":
            bench.transactions.commits.append(which)
        elif step == "crash":  # its successor reads again what is not committed
            assert bench.lane._task is not None
            bench.lane._task.cancel()
            bench = await Bench(log).open()
            await bench.take(*records[log.position.offset or 0 :])
        else:
            await asyncio.sleep(which)
        await soon()
    await asyncio.sleep(10)
    for offset, answer in bench.processor.answers.items():
        if not answer.done():
            bench.processor.answer(offset)
    await asyncio.sleep(10)
    assert bench.crashes == []
    assert bench.lane.in_flight == 0
    settled = Counter([*log.letters, *log.passed_over, *log.buried])
    asked = {record.offset for record in records if b'"stage"' not in (record.value or b"")}
    assert settled == Counter(asked)
    actions = {record.offset: (record.value or b"").split(b'"actionId":')[1][:1] for record in records}
    with_letter = {actions[offset] for offset in log.letters}
    assert {actions[offset] for offset in log.passed_over} <= with_letter
    await bench.lane.close()
