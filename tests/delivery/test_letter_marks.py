"""Transactions with marks, against a cluster of a few lines."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from streams.delivery.letter_marks import Marked, MarkingTransactions, MarkRecord, mark_of
from streams.delivery.letter_window import LetterWindow
from streams.delivery.transaction import (
    Outgoing,
    Position,
    RecordRefused,
    RecordTooLarge,
    TopicFault,
    TransactionFailed,
)

MARKS = "marks"


def email(letter: bytes, about: bytes = b"a") -> Marked:
    return Marked.of(Outgoing("emails", b"310:ref", b"email", []), mark_of(MARKS, about, letter))


def passed(letter: bytes, about: bytes = b"a") -> Marked:
    return Marked.of(Outgoing(MARKS, b"passed-over/" + letter, b"other", []), mark_of(MARKS, about, letter))


class FakePort:
    """Keeps what it is given, unless it shall fail."""

    def __init__(self) -> None:
        self.written: list[Outgoing] = []
        self.failure: Exception | None = None
        self.closed = False

    async def open(self) -> Position:
        return Position(7, "")

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.written += records

    async def close(self) -> None:
        self.closed = True


class Bench:
    """Transactions with marks, and all around them."""

    def __init__(self) -> None:
        self.port, self.window, self.now = FakePort(), LetterWindow(60.0, 100), 1_000.0
        self.there: list[MarkRecord] = []
        self.asked: list[float] = []
        self.failure: Exception | None = None
        self.marking = MarkingTransactions(self.port, MARKS, self.window, self._read, lambda: self.now)

    async def _read(self, since: float) -> list[MarkRecord]:
        self.asked.append(since)
        if self.failure is not None:
            raise self.failure
        return self.there

    async def commit(self, *records: Outgoing) -> None:
        await self.marking.commit(records, 8, "")


async def test_an_email_and_its_mark_go_in_one_transaction() -> None:
    """The records come first and unchanged; behind them the marks of those that are emails."""
    bench = Bench()
    plain, letter = Outgoing("dlq", b"k", b"v", []), email(b"1")
    bench.marking.made(letter.mark)
    assert bench.marking.letter_before(email(b"2").mark) == b"1", "made, and not committed yet"
    await bench.commit(plain, letter)
    assert bench.port.written == [plain, letter, letter.mark]
    assert (letter.mark.topic, letter.mark.key, letter.mark.value) == (MARKS, b"letter/a", b"1")
    assert bench.marking.letter_before(email(b"2").mark) == b"1"
    assert bench.marking.letter_before(letter.mark) is None, "it is read again"
    bench.now += 60.0
    assert bench.marking.letter_before(email(b"2").mark) is None


async def test_a_withdrawn_letter_does_not_count() -> None:
    """It became a dead letter; withdrawing another one changes nothing."""
    bench = Bench()
    bench.marking.made(email(b"1").mark)
    bench.marking.withdrawn(email(b"2").mark)
    assert bench.marking.letter_before(email(b"2").mark) == b"1"
    bench.marking.withdrawn(email(b"1").mark)
    assert bench.marking.letter_before(email(b"2").mark) is None


async def test_what_is_passed_over_needs_a_letter_about_the_same() -> None:
    """One in the same transaction, wherever it stands there, or a committed one; else it is refused."""
    bench = Bench()
    bench.marking.made(email(b"1").mark)
    with pytest.raises(RecordRefused) as refused:
        await bench.commit(Outgoing("dlq", b"k", b"v", []), passed(b"2"), email(b"3", b"b"))
    assert (refused.value.index, bench.port.written) == (1, [])
    await bench.commit(passed(b"2"), email(b"1"))
    await bench.commit(passed(b"4"))
    assert [record.key for record in bench.port.written if record.topic == MARKS] == [
        b"passed-over/2",
        b"letter/a",
        b"passed-over/4",
    ]
    with pytest.raises(RecordRefused):
        await bench.commit(passed(b"1"))  # it is that letter itself


async def test_a_failed_transaction_marks_nothing() -> None:
    """The letter counts as made as long as it waits; it is committed by nobody yet."""
    bench = Bench()
    bench.marking.made(email(b"1").mark)
    bench.port.failure = TransactionFailed("Down")
    with pytest.raises(TransactionFailed):
        await bench.commit(email(b"1"))
    assert len(bench.window) == 0
    assert await bench.marking.open() == Position(7, "")
    assert bench.marking.letter_before(email(b"2").mark) == b"1"


async def test_opening_reads_the_marks_that_others_wrote() -> None:
    """From so long ago as the window reaches; later only what is new. Other records are no marks."""
    bench = Bench()
    bench.there = [
        (b"letter/a", b"1", 950.0),
        (b"letter/b", b"2", 900.0),
        (b"passed-over/3", b"1", 950.0),
        (b"letter/c", None, 950.0),
        (None, b"x", 950.0),
    ]
    bench.marking.made(email(b"1").mark)
    await bench.marking.open()
    bench.marking.withdrawn(email(b"1").mark)  # its answer was lost: it is committed, and stays known
    assert bench.marking.letter_before(email(b"4").mark) == b"1"
    for about in (b"b", b"c"):
        assert bench.marking.letter_before(email(b"4", about).mark) is None
    bench.now += 10.0
    await bench.marking.open()
    assert bench.asked == [880.0, 940.0]


async def test_marks_that_cannot_be_read_are_a_failure_that_may_pass() -> None:
    """The lane tries again, and the sentence names the topic."""
    bench = Bench()
    bench.failure = TopicAuthorizationFailedError("x")
    with pytest.raises(TransactionFailed, match="the marks in topic marks cannot be read") as failed:
        await bench.marking.open()
    assert failed.value.kind == "TopicAuthorizationFailedError"


@pytest.mark.parametrize("refused", [RecordRefused, lambda index: RecordTooLarge(index, 10, 20)])
async def test_a_refused_mark_is_its_topic_s_fault(refused: type[RecordRefused]) -> None:
    """The letters wait until it is mended; a refused record is its own fault as ever."""
    bench = Bench()
    bench.port.failure = refused(1)
    with pytest.raises(TopicFault, match="topic marks refuses"):
        await bench.commit(email(b"1"))
    bench.port.failure = refused(0)
    with pytest.raises(RecordRefused):
        await bench.commit(email(b"1"))
    await bench.marking.close()
    assert bench.port.closed
