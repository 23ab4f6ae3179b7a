"""The native pass over what was fetched of one partition, from one unusual record to the next."""

from __future__ import annotations

import ctypes
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

from aiokafka.record.util import decode_varint

from streams.actions.decision import Grounds, decide
from streams.actions.outcomes import Emailed, Ignored, emailed
from streams.delivery.results import RecordOutcome
from streams.messages.email import EmailWriter
from streams.messages.no_letter import ASKS_FOR_CONFIRMATION, NoLetter
from streams.native.email_batch import EmailBatch
from streams.native.letters import GROUNDS, letters_of, number_of
from streams.native.library import Aborted, Decide, Partition, Pass, Span, Tally, View
from streams.native.status_index import PartitionStatuses, StatusIndex

#: Most slots for organisations (half of them are used), and for timestamps, between two calls of `count`.
_TALLIES, _SPANS = 512, 1_024
#: Slots of a small fetch; passes over those need no other memory than the one before.
_FEWEST_SLOTS = 16
#: Outcomes that are kept.
_MOST_OUTCOMES = 512
#: Where in a pass its place in the fetch begins, and all that follows.
_WHERE = Pass.at.offset
_WHERE_BYTES = ctypes.sizeof(Pass) - _WHERE
# Their fields; ctypes would make an object for each.
_TALLY, _SPAN = struct.Struct("3q"), struct.Struct("2q")
#: Matches the zero bytes of empty slots, if only none: behind them begins the next slot that is used.
_EMPTY: Any = re.compile(rb"\0*")


class Stop(IntEnum):
    """Why a pass stopped, as email_pass.h has it."""

    END = 0  # nothing more was fetched
    RECORD = 1  # a record is not usual: it is judged by the path in Python, and the pass goes on behind it
    COMPRESSED = 2  # a batch is to be inflated; never seen outside this module
    BATCH = 3  # a batch is not usual: all that is left is read by the path in Python
    NO_ROOM = 4  # the batch is full: it is taken away, and the pass goes on


#: By number: a look-up of one step, where to call the class would be several.
_STOPS = {int(each): each for each in Stop}


class Why(IntEnum):
    """Why a record is not usual, as email_pass.h has it."""

    VALUE = 1  # its value is not strict JSON, or a field that decides is not plain
    STATUS = 2  # its status is missing, and that does not decide: a lookup may have to be asked
    TRACE = 3  # its trace context is not text, or there twice
    SIZE = 4  # its email or its key is larger than usual


#: Gives the grounds on which to decide of an action whose status the index does not have, by its key, its
#: organisation and seconds since the epoch. None: that takes the whole record.
WithoutAsking = Callable[[bytes, int, float], Grounds | None]


class UnusualRecord(NamedTuple):
    """A record that the path in Python has to judge."""

    offset: int
    timestamp: int  # milliseconds since the epoch
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class NativePartition:
    """Makes passes over what is fetched of one partition, whose actions are all of one epoch."""

    def __init__(
        self,
        library: Any,
        writer: EmailWriter,
        index: StatusIndex,
        statuses: Callable[[], PartitionStatuses | None],
        without_asking: WithoutAsking,
        repeats_at: str | None,
    ) -> None:
        """Prepare what all passes have in common.

        Args:
            library: the C library.
            writer: of the emails of this partition and epoch.
            index: of the statuses.
            statuses: gives those of this partition; asked before each step of a pass. None: none is known.
            without_asking: decides where the index has no status. Called during a pass, in its thread.
            repeats_at: a stage at which repeat signers get an email, too, so that an action at it is not
                usual; None: there is none.
        """
        self.library = library
        self.writer = writer
        self._index, self._statuses = index, statuses
        self._decide = Decide(partial(_number, without_asking))
        asks, repeats = ASKS_FOR_CONFIRMATION.encode(), (repeats_at or "").encode()
        self.state = Partition(
            letters_of(writer),
            len(GROUNDS),
            writer.id_prefix,
            len(writer.id_prefix),
            asks,
            len(asks),
            repeats,
            len(repeats),
            index.pointer,
            self._decide,
        )
        self._outcomes: dict[tuple[int, int], Emailed] = {}  # by number of the letter, and organisation

    def outcome(self, letter: int, org_id: int) -> Emailed:
        """Return how an email with a letter of this number is counted."""
        known = self._outcomes.get((letter, org_id))
        if known is None:
            if len(self._outcomes) >= _MOST_OUTCOMES:  # whoever writes actions chooses the organisations
                self._outcomes.clear()
            grounds = GROUNDS[letter - 1]
            known = self._outcomes[letter, org_id] = emailed(decide(*grounds), grounds[1], org_id)
        return known

    def secret(self) -> bytes:
        """Return what the statuses that are known now were put with."""
        statuses = self._statuses()
        return self._index.nobody_s_secret if statuses is None else statuses.secret


class NativePass:
    """Goes through one fetch after another. Its methods are called by one thread at a time; none waits."""

    #: Where emails go; None before the first step.
    batch: EmailBatch | None = None

    def __init__(self, partition: NativePartition) -> None:
        """Prepare for fetches of a partition; `begin` comes before the first step."""
        self._partition = partition
        self._state = Pass(partition=ctypes.pointer(partition.state))
        self._aborted: Any = ()
        self._tallies: Any = ()
        self._spans: Any = ()
        self._records = b""  # of an inflated batch

    def begin(
        self,
        fetched: bytes,
        *,
        next_offset: int,
        aborted: Iterable[tuple[int, int]],
        inflate: Callable[[int, int], bytes | memoryview],
        most_records: int = _SPANS,
    ) -> None:
        """Begin with a fetch; what is left of the one before is forgotten.

        Before the first step come `judge_at` and `put_into`.

        Args:
            fetched: record batches, as a broker sent them.
            next_offset: records below it are passed over.
            aborted: producer id and first offset of each aborted transaction, as the broker lists them.
            inflate: returns the records of the compressed batch between two bytes of `fetched`, or raises
                any exception.
            most_records: that `fetched` has, as far as is known; with more, the pass may stop earlier.
        """
        state = self._state
        self._inflate = inflate
        # To clear and to look through all slots that a large fetch needs takes longer than a few records.
        slots = max(_FEWEST_SLOTS, 1 << most_records.bit_length())
        if state.span_slots != min(_SPANS, slots):
            self._tallies, self._spans = (Tally * min(_TALLIES, 2 * slots))(), (Span * min(_SPANS, slots))()
            state.tallies, state.tally_slots = self._tallies, len(self._tallies)
            state.spans, state.span_slots = self._spans, len(self._spans)
        elif state.tallies_used:
            ctypes.memset(self._tallies, 0, ctypes.sizeof(self._tallies))
        ctypes.memset(ctypes.addressof(state) + _WHERE, 0, _WHERE_BYTES)
        self._records = b""
        state.fetched, state.fetched_length, state.next_offset = fetched, len(fetched), next_offset
        transactions = [Aborted(producer_id, first) for producer_id, first in sorted(aborted)]
        self._aborted = (Aborted * len(transactions))(*transactions)
        state.aborted, state.aborted_count = self._aborted, len(self._aborted)

    @property
    def next_offset(self) -> int:
        """The offset up to which all records are dealt with; that of an unusual record is below it."""
        return int(self._state.next_offset)

    @property
    def ignored(self) -> tuple[int, int]:
        """Actions that ask for no confirmation, and records without a value, since the last `count`."""
        state = self._state
        return state.other_stage + state.no_consent, state.tombstones

    def judge_at(self, decided_at: float, timestamp_ms: int, most_emails: int) -> None:
        """Set what holds for the steps that follow.

        Args:
            decided_at: seconds since the epoch.
            timestamp_ms: of the emails' records, milliseconds since the epoch.
            most_emails: that the batch may have.
        """
        state = self._state
        state.moment = moment = self._partition.writer.moment(decided_at)
        state.moment_length = len(moment)
        state.now_ms, state.timestamp_ms = int(decided_at * 1000), timestamp_ms
        state.most_emails = most_emails

    def go_on(self) -> Stop:
        """Go on from where the pass is, and return why it stopped."""
        run, state = self._partition.library.cs_run, self._state
        state.secret = self._partition.secret()
        while (stop := _STOPS[run(state)]) is Stop.COMPRESSED:
            begin = state.at
            try:
                self._records = bytes(self._inflate(begin, begin + state.header.bytes))
            except Exception:  # malformed or too large: the path in Python says which
                return Stop.BATCH
            state.records = ctypes.cast(ctypes.c_char_p(self._records), ctypes.c_void_p)
            state.records_length = len(self._records)
        return stop

    def put_into(self, batch: EmailBatch) -> None:
        """Let further emails go into this batch."""
        self.batch = batch
        self._state.batch = ctypes.addressof(batch.state)

    def end(self) -> None:
        """Give back the memory of what was fetched. What was judged can still be counted."""
        self._state.fetched = b""  # None would not let go of it: ctypes keeps what was there
        self._records, self._inflate, self.batch = b"", _forgotten, None

    def count(self, outcomes: Counter[RecordOutcome], timestamps: Counter[int]) -> None:
        """Count what became of the usual records since this was called last.

        Args:
            outcomes: gets how many records had each outcome.
            timestamps: gets how many emails answer an action of that time, milliseconds since the epoch.
        """
        state = self._state
        if state.tallies_used:
            end = 0
            for _ in range(state.tallies_used):
                # Nearly all slots are empty; to unpack each of them would take four times as long.
                begin = _EMPTY.match(self._tallies, end).end() // _TALLY.size * _TALLY.size
                end = begin + _TALLY.size
                letter, org_id, emails = _TALLY.unpack_from(self._tallies, begin)
                outcomes[self._partition.outcome(letter, org_id)] += emails
            used = bytes(memoryview(self._spans).cast("B")[: state.spans_used * _SPAN.size])
            for timestamp, emails in _SPAN.iter_unpack(used):
                if emails:
                    timestamps[timestamp] += emails
            ctypes.memset(self._tallies, 0, ctypes.sizeof(self._tallies))
            state.tallies_used = state.spans_used = 0
        if state.other_stage or state.no_consent or state.tombstones:
            for why, count in (
                (str(NoLetter.STAGE), state.other_stage),
                (str(NoLetter.NO_CONSENT), state.no_consent),
                ("tombstone", state.tombstones),
            ):
                if count:
                    outcomes[Ignored(why)] += count
            state.other_stage = state.no_consent = state.tombstones = 0

    # -- what is left to the path in Python -----------------------------------------------------------------

    @property
    def why(self) -> Why:
        """Why the record is not usual, after :attr:`Stop.RECORD`."""
        return Why(self._state.why)

    def unusual(self) -> UnusualRecord:
        """Return the record that is not usual, after :attr:`Stop.RECORD`."""
        record = self._state.unusual
        headers: list[tuple[str, bytes | None]] = []
        encoded = _bytes_of(record.headers) or b""
        at = 0
        for _ in range(record.header_count):
            name, at = _sized(encoded, at)
            value, at = _sized(encoded, at)
            headers.append(((name or b"").decode("utf-8", "surrogateescape"), value))
        return UnusualRecord(
            record.offset, record.timestamp, _bytes_of(record.key), _bytes_of(record.value), headers
        )

    def left(self) -> tuple[int, list[tuple[int, int]]]:
        """Return what is left to read after :attr:`Stop.BATCH`, or in the place of a further step.

        Returns:
            Where in `fetched` it begins (:func:`streams.kafka.record_batches.batches_from`), and producer id
            and first offset of each aborted transaction that has not ended before.
        """
        open_ones = [(each.producer_id, each.first_offset) for each in self._aborted if not each.ended]
        return self._state.at, open_ones


def _forgotten(_begin: int, _end: int) -> bytes:
    raise LookupError("what was fetched is given back")


def _number(without_asking: WithoutAsking, key: int, length: int, org_id: int, now_ms: int) -> int:
    """Return the number of the letter, for C; 0: the record is not usual."""
    try:
        grounds = without_asking(ctypes.string_at(key, length), org_id, now_ms / 1000)
        return 0 if grounds is None else number_of(grounds)
    except Exception:  # the path in Python meets it, too, and says so
        return 0


def _bytes_of(view: View) -> bytes | None:
    return None if view.at is None else ctypes.string_at(view.at, view.length)


def _sized(encoded: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(encoded, at)
    return (None, at) if length < 0 else (encoded[at : at + length], at + length)
