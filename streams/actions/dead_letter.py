"""Dead letters: their headers, what is left of one that its topic refuses, and how many stop a partition.

A dead letter is the original record (key, value and headers) with more headers behind its own, which say
where it was read and why no email could be made from it (``schemas/dead-letter-headers.json``).
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

from streams.delivery.transaction import Headers, Outgoing
from streams.messages.decode import ErrorClass
from streams.messages.unreadable import UnreadableRecords

# The names are Kafka Streams' (KIP-1034), and its numbers are decimal text, too.
_TOPIC = "__streams.errors.topic"
_PARTITION = "__streams.errors.partition"
_OFFSET = "__streams.errors.offset"
_ERROR_CLASS = "__streams.errors.exception"
_JSON_PATH = "errors.json-path"
_EPOCH = "errors.epoch"  # only where it is not 0
# Of a dead letter that stands for records which nobody can read.
_LAST_OFFSET = "errors.last-offset"
_REASON = "errors.reason"
# What of the original record is missing: its bytes, and their SHA-256 in hexadecimal digits.
_VALUE_LEFT_OUT = "shortened-from", "shortened-from-sha256"
_KEY_LEFT_OUT = "key-left-out-bytes", "key-left-out-sha256"
_HEADERS_LEFT_OUT = "headers-left-out-bytes", "headers-left-out-sha256"
_MARKS = frozenset((_VALUE_LEFT_OUT[0], _KEY_LEFT_OUT[0], _HEADERS_LEFT_OUT[0]))

#: Bytes that are kept, at first, of each part of a dead letter which its topic has no room for.
SHORTENED_TO = 64 * 1024
#: The limit looks at so many actions, the last ones of its partition.
WINDOW = 1_000
#: Before so many actions are seen, no share is trusted.
LEAST = 100


class DeadLetterOrigin(NamedTuple):
    """What the headers of a dead letter say; "" or None where one is missing or cannot be read."""

    topic: str
    partition: int | None
    offset: int | None
    error_class: str
    json_path: str
    shortened: bool  # whether a part of the original record is missing
    epoch: int = 0  # of the partition when the record was read
    last_offset: int | None = None  # of the batch that it stands for; None: it is one record's


def dead_letter_headers(
    topic: str,
    partition: int,
    offset: int,
    source_headers: Iterable[tuple[str, bytes]],
    error_class: ErrorClass,
    json_path: str,
    epoch: int = 0,
) -> list[tuple[str, bytes]]:
    """Return a dead letter's headers: those of its record, and then where it was read, and why.

    The text of an exception is left out, since it can quote an address.

    Args:
        topic: where the record was read.
        partition: of that topic.
        offset: of the record.
        source_headers: the record's own.
        error_class: why it is a dead letter.
        json_path: where in its value the fault is; ``$key`` for one in its key.
        epoch: of the partition, where the record is an action.
    """
    return [
        *source_headers,
        (_TOPIC, topic.encode()),
        (_PARTITION, b"%d" % partition),
        (_OFFSET, b"%d" % offset),
        (_ERROR_CLASS, error_class.encode()),
        (_JSON_PATH, json_path.encode()),
        *([(_EPOCH, b"%d" % epoch)] if epoch else []),
    ]


def unreadable_letter(
    topic: str, source: str, partition: int, records: UnreadableRecords, epoch: int = 0
) -> Outgoing:
    """Return the dead letter that stands for records which nobody can read: headers alone.

    Args:
        topic: of the dead letters.
        source: the topic in which the records lie.
        partition: of that topic.
        records: where they lie, and why they cannot be read.
        epoch: of that partition, where the records are actions.
    """
    at = records.first_offset
    headers = dead_letter_headers(source, partition, at, (), ErrorClass.UNREADABLE, "$", epoch)
    headers += [(_LAST_OFFSET, b"%d" % records.offset), (_REASON, records.reason.encode())]
    return Outgoing(topic, None, None, headers)


def read_dead_letter_headers(headers: Iterable[tuple[str, bytes | None]]) -> DeadLetterOrigin:
    """Read what :func:`dead_letter_headers` and :func:`reduced` wrote, or any other headers."""
    # The record may have come with headers of the same names: the last one that names a topic is ours.
    headers = list(headers)
    begin = max((at for at, (name, _) in enumerate(headers) if name == _TOPIC), default=0)
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in headers[begin:]}
    return DeadLetterOrigin(
        texts.get(_TOPIC, ""),
        _number(texts.get(_PARTITION, "")),
        _number(texts.get(_OFFSET, "")),
        texts.get(_ERROR_CLASS, ""),
        texts.get(_JSON_PATH, ""),
        not _MARKS.isdisjoint(texts),
        _number(texts.get(_EPOCH, "")) or 0,
        _number(texts.get(_LAST_OFFSET, "")),
    )


def source_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """Return the headers that the record had before it became a dead letter.

    Raises:
        ValueError: it is no dead letter.
    """
    headers = list(headers)
    return headers[: max(at for at, (name, _) in enumerate(headers) if name == _TOPIC)]


def reduced(letter: Outgoing) -> Outgoing | None:
    """Return a dead letter that its topic refuses with less in it; None: nothing is left to leave out.

    First, each part of more than 64 KiB goes: all headers of the record, its key, the end of its value. Then
    the same parts go whatever their size. Headers say how many bytes each part had, and their SHA-256. The
    last form is a bare notice of topic, partition, offset and error class, without the SHA-256.
    """
    headers, key, value = source_headers(letter.headers), letter.key or b"", letter.value or b""
    ours = letter.headers[len(headers) :]
    marks = {name for name, _ in ours}
    for most in (SHORTENED_TO, 0):
        packed = b"".join(name.encode("utf-8", "surrogateescape") + (text or b"") for name, text in headers)
        if len(packed) > most or len(headers) > most:
            return letter._replace(headers=[*ours, *_left_out(_HEADERS_LEFT_OUT, packed)])
        if len(key) > most and _KEY_LEFT_OUT[0] not in marks:
            mark = _left_out(_KEY_LEFT_OUT, key)
            return letter._replace(key=_own_key(ours), headers=[*letter.headers, *mark])
        if len(value) > most:
            mark = [] if _VALUE_LEFT_OUT[0] in marks else _left_out(_VALUE_LEFT_OUT, value)
            return letter._replace(value=value[:most], headers=[*letter.headers, *mark])
    bare = [header for header in ours if not header[0].endswith("-sha256")]
    return letter._replace(key=_own_key(ours), headers=bare) if len(bare) < len(ours) else None


def with_key(letter: Outgoing) -> Outgoing:
    """Return a dead letter as a compacted topic takes it: with a key and a value.

    Where the record had no key, it is the place that the record was read from, and a header says so.
    """
    if letter.key is not None and letter.value is not None:
        return letter
    ours = letter.headers[len(source_headers(letter.headers)) :]
    headers = [*letter.headers, (_KEY_LEFT_OUT[0], b"null")] if letter.key is None else letter.headers
    key = _own_key(ours) if letter.key is None else letter.key
    return letter._replace(key=key, value=letter.value or b"", headers=headers)


def _left_out(names: tuple[str, str], part: bytes) -> Headers:
    return [(names[0], b"%d" % len(part)), (names[1], hashlib.sha256(part).hexdigest().encode())]


def _own_key(ours: Headers) -> bytes:
    """Where the record was read (topic/partition/offset) and its epoch: no other dead letter has this key."""
    epochs = [b"?epoch=" + text for name, text in ours if name == _EPOCH]
    return b"".join([b"/".join(text for _, text in ours[:3]), *epochs])


class DeadLetterLimit:
    """Watches one partition: a faulty deployment must not turn all actions into dead letters.

    When more than a set share of the last 1,000 actions are dead letters, the fault is more likely ours than
    the producers': the partition stops, everything stays where it is, and a person decides. What the person
    accepts is not counted. The partition also stops before records that nobody can read: nobody knows how
    many actions they are, and a copy of them on another broker may be whole.
    """

    def __init__(self, share: float, topic: str = "", partition: int = 0) -> None:
        """Watch a partition of a topic; stop above `share` (0 to 1) of the window; 1 never stops."""
        self.topic = topic
        self.partition = partition
        self._share = share
        self._window: deque[_DeadLetter | None] = deque(maxlen=WINDOW)
        self._accepted_before = 0
        self._stopped_before: UnreadableRecords | None = None
        #: Why the partition stops, for its log line and ``/readyz``; None: it goes on.
        self.why: str | None = None

    def note_good(self) -> None:
        """An action was understood."""
        self._window.append(None)

    def note_many_good(self, count: int) -> None:
        """So many actions were understood."""
        self._window.extend([None] * min(count, WINDOW))

    def note_dead_letter(self, offset: int, error_class: ErrorClass) -> None:
        """The action at `offset` became a dead letter.

        One whose address is encrypted does not count: it is what an organisation chose, and no faulty
        deployment makes it.
        """
        if error_class is ErrorClass.EMAIL_ENCRYPTED:
            self.note_good()
            return
        if offset < self._accepted_before:
            return
        self._window.append(_DeadLetter(offset, error_class))
        self._look()

    def lets_pass(self, records: UnreadableRecords) -> bool:
        """Return whether a person accepts the loss of these records; if not, the partition stops here."""
        if records.offset < self._accepted_before:
            return True
        self._stopped_before = records
        self._look()
        return False

    def accept(self, before: int) -> None:
        """Count no dead letter whose action is before this offset, be it noted already or later."""
        self._accepted_before = before
        if self._stopped_before is not None and self._stopped_before.offset < before:
            self._stopped_before = None
        counted = [each for each in self._window if each is None or each.offset >= before]
        self._window.clear()
        self._window.extend(counted)
        self._look()

    def _look(self) -> None:
        seen = len(self._window)
        dead = seen - self._window.count(None)
        if self._stopped_before is not None:
            self.why = self._unreadable_sentence(self._stopped_before)
        else:
            self.why = self._sentence() if seen >= LEAST and dead > self._share * seen else None

    def _unreadable_sentence(self, records: UnreadableRecords) -> str:
        return (
            f"{records.place(self.topic, self.partition)} cannot be read: {records.reason}. Have a sound copy"
            f" of them restored, or go on without them:"
            f" `streams dead-letters accept {self.topic} {self.partition} {records.offset + 1}`"
        )

    def _sentence(self) -> str:
        letters = [each for each in self._window if each is not None]
        first = min(letters)
        classes = Counter(each.error_class for each in letters).most_common()
        listed = ", ".join(f"{count:,} {error_class}" for error_class, count in classes)
        where = f"{self.topic} {self.partition}"
        return (
            f"{len(letters):,} of the last {len(self._window):,} actions of {self.topic}/{self.partition} are"
            f" dead letters ({listed}; the first at offset {first.offset:,}), and STREAMS_DEAD_LETTER_CEILING"
            f" allows a share of {self._share:g}. Mend what writes or reads them;"
            f" `streams dead-letters accept {where} latest` lets those pass that are there"
        )


class _DeadLetter(NamedTuple):
    """One of the window."""

    offset: int
    error_class: ErrorClass


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
