"""Marks of letters: each is written in the transaction of its email, on a topic of its own.

A mark says what a letter is about and has the email's id. A worker that opens a partition reads its marks to
their end, behind the fence, and knows from then on which letters were written lately.

What is passed over, because a letter about the same was written, leaves a record on the same topic, so that
an audit finds it. It is only written if that letter is committed, or goes in the same transaction. Otherwise
it is refused, and gets its own letter: that the first one will ever be written is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from aiokafka.errors import KafkaError

from streams.delivery.letter_window import LetterWindow
from streams.delivery.transaction import (
    Outgoing,
    Position,
    RecordRefused,
    TopicFault,
    TransactionFailed,
    TransactionPort,
)

#: The key of a mark is this and what the letter is about. The value is the letter's id.
LETTER = b"letter/"
#: The key of a record about an action that was passed over is this and the id that its own letter would have
#: had. The value is the id of the letter about the same.
PASSED_OVER = b"passed-over/"
#: Seconds by which two workers' clocks may differ, or a mark may be older than the end of its transaction.
_SLACK = 60.0
#: Seconds after which it is a failure that the marks are not read.
_READ_WITHIN = 15.0


class Marked(Outgoing):
    """An email, or the record of an action that is passed over, with the mark of the action's own letter."""

    mark: Outgoing

    @classmethod
    def of(cls, outgoing: Outgoing, mark: Outgoing) -> Marked:
        """Return `outgoing` with its mark."""
        marked = cls(*outgoing)
        marked.mark = mark
        return marked


def mark_of(topic: str, about: bytes, letter: bytes) -> Outgoing:
    """Return the mark of a letter that is about this and has this id."""
    return Outgoing(topic, LETTER + about, letter, [])


#: Key, value and time (seconds since the epoch) of a record on the topic of the marks.
MarkRecord = tuple[bytes | None, bytes | None, float]


class MarkingTransactions:
    """Transactions of one lane in which each email has its mark (a :class:`TransactionPort`)."""

    def __init__(
        self,
        transactions: TransactionPort,
        topic: str,
        window: LetterWindow,
        read: Callable[[float], Awaitable[Iterable[MarkRecord]]],
        now: Callable[[], float],
    ) -> None:
        """Add marks to what `transactions` write.

        Args:
            transactions: of the lane.
            topic: of the marks.
            window: of the partition's number; the lane of its re-keyed actions may share it.
            read: reads the partition's marks that were written since a time (seconds since the epoch) to
                their end; raises KafkaError.
            now: wall clock, seconds since the epoch.
        """
        self._transactions = transactions
        self._topic = topic
        self._window = window
        self._read = read
        self._now = now
        self._read_at = 0.0
        self._uncommitted: dict[bytes, bytes] = {}  # ids of letters that this lane has made, by subject

    def letter_before(self, mark: Outgoing) -> bytes | None:
        """Return the id of another letter about the same as the one with this mark.

        It was written within the window, or this lane has made it and not committed it yet.
        """
        for letter in (self._window.letter(_about(mark), self._now()), self._uncommitted.get(_about(mark))):
            if letter is not None and letter != mark.value:  # its own: it is read again
                return letter
        return None

    def made(self, mark: Outgoing) -> None:
        """Note that the letter with this mark goes into one of the next transactions."""
        assert mark.value is not None
        self._uncommitted[_about(mark)] = mark.value

    def withdrawn(self, mark: Outgoing) -> None:
        """Note that the letter with this mark is not going to be written."""
        if self._uncommitted.get(_about(mark)) == mark.value:
            del self._uncommitted[_about(mark)]

    async def open(self) -> Position:
        """Open the transactions, and read the marks of whoever had the partition before.

        Raises:
            TransactionFailed: also if the marks cannot be read.
        """
        position = await self._transactions.open()
        now, window = self._now(), self._window
        try:
            async with asyncio.timeout(_READ_WITHIN):
                records = await self._read(max(now - window.seconds, self._read_at) - _SLACK)
        except (KafkaError, TimeoutError) as exc:
            kind = type(exc).__name__
            raise TransactionFailed(
                kind, f"the marks in topic {self._topic} cannot be read ({kind})"
            ) from None
        for key, letter, at in records:
            if key is not None and letter is not None and key.startswith(LETTER):
                window.add(key[len(LETTER) :], letter, at)
        self._read_at = now
        # A letter of ours may have been committed though its answer was lost, or by a successor.
        self._uncommitted = {
            about: letter
            for about, letter in self._uncommitted.items()
            if window.letter(about, now) != letter
        }
        return position

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        """Commit with the marks of the emails.

        Raises:
            RecordRefused: also of an action that is passed over without a letter about the same.
            TopicFault: also if the topic refuses a mark.
        """
        marked = [(index, record) for index, record in enumerate(records) if type(record) is Marked]
        marks = [record.mark for _, record in marked if record.topic != self._topic]
        letters = {mark.key for mark in marks}
        for index, record in marked:
            if record.topic == self._topic and not (record.mark.key in letters or self._has_another(record)):
                raise RecordRefused(index, "names a letter that was not written")
        try:
            await self._transactions.commit([*records, *marks], offset, metadata)
        except RecordRefused as refused:
            if refused.index < len(records):
                raise
            raise TopicFault("MarkRefused", f"topic {self._topic} refuses the mark of a letter") from None
        now = self._now()
        for mark in marks:
            assert mark.value is not None
            self._window.add(_about(mark), mark.value, now)
            self.withdrawn(mark)

    def _has_another(self, record: Marked) -> bool:
        letter = self._window.letter(_about(record.mark), self._now())
        return letter is not None and letter != record.mark.value

    async def close(self) -> None:
        """Let go of every connection."""
        await self._transactions.close()


def _about(mark: Outgoing) -> bytes:
    assert mark.key is not None
    return mark.key[len(LETTER) :]
