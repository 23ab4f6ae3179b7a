"""The bytes of a transaction's requests and answers, without a call for each of their fields.

aiokafka writes and reads each field by a call or three. A worker sends the three requests of a transaction
(:mod:`streams.delivery.transaction_protocol`) fifty times a second where actions trickle in, and their fields
took a tenth of its CPU. What is written here is the same, byte for byte. An answer of another form than the
usual one, with tags or the text of an error, is read by its schema.

In a flexible version (KIP-482) the length of a string or an array is one higher, as an unsigned varint of
seven bits a byte; 0 stands for null; and each structure ends with its tags, of which there are none: ``00``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from struct import Struct
from typing import Any, NamedTuple

from aiokafka.protocol.api import ResponseHeader_v1

NO_TAGS = b"\0"

_HEADER = Struct(">hhi")  # the request's key and version, correlation id
_LENGTH = Struct(">h")
_CORRELATION = Struct(">i")
_PRODUCE = Struct(">hi")  # acknowledgements, milliseconds for them
_PARTITION = Struct(">i")
_PRODUCER = Struct(">qh")  # producer id, epoch
_GENERATION = Struct(">i")
_OFFSET = Struct(">iqi")  # partition, offset, epoch of its leader
_END = Struct(">qhB")  # producer id, epoch, whether to commit
_ENDED = Struct(">ihqhB")  # throttled for (ms), error, producer id, epoch, tags
_WRITTEN = Struct(">ihqqqBBB")  # partition, error, three numbers, errors of records, text, tags
_THROTTLED = Struct(">iB")  # for (ms), tags
_COMMITTED = Struct(">ihB")  # partition, error, tags
_ONE_BYTE = 0x80  # a varint below it has one byte
_EMPTY = 1  # the length of an array without an element


class AnswerHeader(NamedTuple):
    """What stands before each answer."""

    correlation_id: int


class RequestHeader(bytes):
    """What stands before each request, as aiokafka's connection expects it."""

    def encode(self) -> bytes:
        """Return its bytes."""
        return self


class WithoutTags:
    """The headers of a request in a flexible version: a mixin for aiokafka's structs."""

    API_KEY: int
    API_VERSION: int

    def build_request_header(self, correlation_id: int, client_id: str) -> RequestHeader:
        """Return the request's header (called by aiokafka's connection)."""
        numbers = _HEADER.pack(self.API_KEY, self.API_VERSION, correlation_id)
        return RequestHeader(numbers + _after_numbers(client_id))

    def parse_response_header(self, frame: BytesIO) -> Any:
        """Read the answer's header (called by aiokafka's connection)."""
        begin = frame.read(_CORRELATION.size + 1)
        if begin[-1:] == NO_TAGS:
            return AnswerHeader(*_CORRELATION.unpack_from(begin))
        frame.seek(0)
        return ResponseHeader_v1.decode(frame)


@lru_cache(maxsize=16)
def _after_numbers(client_id: str) -> bytes:
    name = client_id.encode()
    return _LENGTH.pack(len(name)) + name + NO_TAGS


def varint(number: int) -> bytes:
    """Return a number from 0 on as an unsigned varint."""
    encoded = bytearray()
    while number >= _ONE_BYTE:
        encoded.append(number & 0x7F | _ONE_BYTE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@lru_cache(maxsize=1024)  # of topics, groups, members and transactional.ids
def name(text: str | None) -> bytes:
    """Return a string that comes again and again."""
    return string(text)


def string(text: str | None) -> bytes:
    """Return a string, or null."""
    if text is None:
        return b"\0"
    encoded = text.encode()
    return varint(len(encoded) + 1) + encoded


def produce(
    transactional_id: str | None,
    acknowledgements: int,
    timeout_ms: int,
    topics: Sequence[tuple[str, Sequence[tuple[int, Any, Any]], Any]],
) -> bytes:
    """Return the body of a Produce request, version 12; each batch is copied once."""
    parts: list[Any] = [name(transactional_id), _PRODUCE.pack(acknowledgements, timeout_ms)]
    parts.append(varint(len(topics) + 1))
    for topic, partitions, _ in topics:
        parts += (name(topic), varint(len(partitions) + 1))
        for partition, batch, _ in partitions:
            parts += (_PARTITION.pack(partition), varint(len(batch) + 1), batch, NO_TAGS)
        parts.append(NO_TAGS)
    parts.append(NO_TAGS)
    return b"".join(parts)


def commit_offsets(
    ids: tuple[str, str],
    producer: tuple[int, int],
    member: tuple[int, str, str | None],
    topics: Sequence[tuple[str, Sequence[tuple[int, int, int, str, Any]], Any]],
) -> bytes:
    """Return the body of a TxnOffsetCommit request, version 5.

    Args:
        ids: transactional.id and group.
        producer: its id and epoch.
        member: generation, member id and ``group.instance.id``.
        topics: by topic, partitions as (number, offset, epoch of the leader, metadata).
    """
    parts = [name(ids[0]), name(ids[1]), _PRODUCER.pack(*producer)]
    parts += (_GENERATION.pack(member[0]), name(member[1]), name(member[2]), varint(len(topics) + 1))
    for topic, partitions, _ in topics:
        parts += (name(topic), varint(len(partitions) + 1))
        for *numbers, metadata, _ in partitions:
            parts += (_OFFSET.pack(*numbers), string(metadata), NO_TAGS)
        parts.append(NO_TAGS)
    parts.append(NO_TAGS)
    return b"".join(parts)


def end(transactional_id: str, producer_id: int, epoch: int, commit: bool) -> bytes:
    """Return the body of an EndTxn request, version 5."""
    return name(transactional_id) + _END.pack(producer_id, epoch, commit) + NO_TAGS


def read_written(raw: bytes, at: int) -> tuple[Any, ...] | None:
    """Read the body of an answer to `produce`, from a byte on: topics, throttled for (ms), tags.

    Returns:
        None: it is not of the usual form.
    """
    found = _topics_in(raw, at, _WRITTEN)
    if found is None:
        return None
    topics, at = found
    for _, partitions, _ in topics:
        for number, (*first, errors, text, tags) in enumerate(partitions):
            if errors != _EMPTY or text or tags:
                return None
            partitions[number] = (*first, [], None, {})
    if at + _THROTTLED.size != len(raw):
        return None
    throttled, tags = _THROTTLED.unpack_from(raw, at)
    return None if tags else (topics, throttled, {})


def read_committed(raw: bytes, at: int) -> tuple[Any, ...] | None:
    """Read the body of an answer to `commit_offsets`, from a byte on: throttled for (ms), topics, tags.

    Returns:
        None: it is not of the usual form.
    """
    if at + _PARTITION.size >= len(raw):
        return None
    (throttled,) = _PARTITION.unpack_from(raw, at)
    found = _topics_in(raw, at + _PARTITION.size, _COMMITTED)
    if found is None or raw[found[1] :] != NO_TAGS:
        return None
    topics, _ = found
    for _, partitions, _ in topics:
        for number, (*first, tags) in enumerate(partitions):
            if tags:
                return None
            partitions[number] = (*first, {})
    return throttled, topics, {}


def read_ended(raw: bytes, at: int) -> tuple[Any, ...] | None:
    """Read the body of an answer to `end`, from a byte on.

    Throttled for (ms), error, producer id and epoch of the next transaction, tags.

    Returns:
        None: it is not of the usual form.
    """
    if at + _ENDED.size != len(raw):
        return None
    *values, tags = _ENDED.unpack_from(raw, at)
    return None if tags else (*values, {})


def _topics_in(
    raw: bytes, at: int, partition: Struct
) -> tuple[list[tuple[str, list[Any], dict[int, bytes]]], int] | None:
    """Read an array of topics whose partitions are of one size; return it, and the byte after it.

    Returns:
        None: it is not of the usual form.
    """
    found: list[tuple[str, list[Any], dict[int, bytes]]] = []
    try:
        topics, at = raw[at], at + 1
        for _ in range(topics - 1):
            size, at = raw[at] - 1, at + 1
            topic, at = raw[at : at + size], at + size
            count, at = raw[at] - 1, at + 1
            end_of_partitions = at + count * partition.size
            if (
                max(topics, size + 1, count + 1) >= _ONE_BYTE
                or min(size, count) < 0
                or raw[end_of_partitions]
            ):
                return None
            partitions = list(partition.iter_unpack(raw[at:end_of_partitions]))
            found.append((topic.decode(), partitions, {}))
            at = end_of_partitions + 1
    except (IndexError, UnicodeDecodeError):
        return None
    return (found, at) if topics else None
