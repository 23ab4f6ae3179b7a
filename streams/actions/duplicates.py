"""One letter for the same action, where a sender repeats its messages within minutes.

The check is made where a letter is chosen, after the lookup and after re-keying: so the letter that counts is
one that is about to be written, and all letters about one action are chosen in partitions of one number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from streams.actions.outcomes import Emailed, Ignored
from streams.delivery.letter_marks import PASSED_OVER, Marked, MarkingTransactions, MarkRecord, mark_of
from streams.delivery.letter_window import LetterWindow
from streams.delivery.results import AwaitingLookup, Processor, PutOff, Record, Result
from streams.delivery.transaction import Outgoing, RecordRefused, TransactionPort
from streams.messages.letter_key import letter_key

DUPLICATE = "duplicate"
#: Letters that all partitions together remember, some 75 MB; each partition has its share.
MOST_LETTERS = 300_000
#: Offsets that a letter takes on the topic of marks: its mark, and the end of its transaction.
_OFFSETS_PER_LETTER = 2
_DUPLICATE = Ignored(DUPLICATE)


class PassedOver(Result):
    """The result of an action that gets no letter, with the one that it gets if this is refused."""

    letter: Result


class Duplicates:
    """Lets lanes pass over actions whose letter was written lately."""

    def __init__(
        self,
        seconds: float,
        topic: str,
        read: Callable[[int, int, float], Awaitable[Iterable[MarkRecord]]],
        now: Callable[[], float],
    ) -> None:
        """Begin without any partition.

        Args:
            seconds: in which the same action gets one letter.
            topic: of the marks.
            read: reads the marks of a partition, of so many offsets before its end at most, that were written
                since a time (seconds since the epoch); raises KafkaError.
            now: wall clock, seconds since the epoch.
        """
        self._seconds = seconds
        self._topic = topic
        self._read = read
        self._now = now
        self._windows: dict[int, LetterWindow] = {}

    def watched(
        self, partition: int, partitions: int, transactions: TransactionPort, processor: Processor
    ) -> tuple[TransactionPort, Processor]:
        """Return transactions and processor for a lane, made of those that it would have.

        Args:
            partition: number of the lane's partition; lanes of the same number share what they know.
            partitions: how many there are.
            transactions: of the lane.
            processor: of the lane.
        """
        window = self._windows.setdefault(
            partition, LetterWindow(self._seconds, max(1, MOST_LETTERS // partitions))
        )
        marking = MarkingTransactions(
            transactions,
            self._topic,
            window,
            partial(self._read, partition, _OFFSETS_PER_LETTER * window.most),
            self._now,
        )
        return marking, OneLetterProcessor(processor, marking, self._topic)


class OneLetterProcessor:
    """A lane's processor that passes over what another one would write a second letter for."""

    def __init__(self, processor: Processor, marking: MarkingTransactions, topic: str) -> None:
        """Ask `processor`, and `marking` for letters about the same; `topic` is that of the marks."""
        self._processor = processor
        self._marking = marking
        self._topic = topic

    @property
    def halted(self) -> str | None:
        """Why the other processor processes no record, or None."""
        return self._processor.halted

    def process(self, record: Record) -> Result | AwaitingLookup | PutOff | None:
        """Return what the other processor returns, or that the record is passed over."""
        result = self._processor.process(record)
        match result:
            case AwaitingLookup(answer, conclude):
                return AwaitingLookup(answer, partial(self._concluded, record, conclude))
            case Result():
                return self._once(record, result)
        return result

    def on_refused(self, record: Record, result: Result, refused: RecordRefused) -> Result | None:
        """Return the record's own letter where it was passed over, else what the other processor returns."""
        if isinstance(result, PassedOver):
            self._marking.made(_mark(result.letter))
            return result.letter
        instead = self._processor.on_refused(record, result, refused)
        if isinstance(result.outgoing, Marked):
            if instead is not None and isinstance(instead.outcome, Emailed):
                assert instead.outgoing is not None
                return instead._replace(outgoing=Marked.of(instead.outgoing, result.outgoing.mark))
            self._marking.withdrawn(result.outgoing.mark)
        return instead

    def on_error(self, record: Record, exc: BaseException) -> Result:
        """Return what the other processor returns."""
        return self._processor.on_error(record, exc)

    def _concluded(
        self, record: Record, conclude: Callable[[asyncio.Future[Any]], Result], answer: asyncio.Future[Any]
    ) -> Result:
        return self._once(record, conclude(answer))

    def _once(self, record: Record, result: Result) -> Result:
        email = result.outgoing
        if type(result.outcome) is not Emailed or email is None or email.key is None:
            return result
        email_id = dict(email.headers)["ce_id"]
        mark = mark_of(self._topic, letter_key(email.key, record.value), email_id)
        letter = result._replace(outgoing=Marked.of(email, mark))
        before = self._marking.letter_before(mark)
        if before is None:
            self._marking.made(mark)
            return letter
        passed = PassedOver(
            Marked.of(Outgoing(self._topic, PASSED_OVER + email_id, before, []), mark), _DUPLICATE
        )
        passed.letter = letter
        return passed


def _mark(letter: Result) -> Outgoing:
    assert isinstance(letter.outgoing, Marked)
    return letter.outgoing.mark
