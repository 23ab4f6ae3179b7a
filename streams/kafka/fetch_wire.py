"""Fetch requests and their answers as they go over the wire, in version 11 (Kafka 2.3).

aiokafka reads and writes each field by a call or three, and a fetch is the request that a worker sends most
often. The layout is the protocol's (https://kafka.apache.org/protocol): a string is its length in two bytes
and UTF-8, and a null array has the length -1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from io import BytesIO
from struct import Struct
from typing import Any, NamedTuple

from aiokafka import TopicPartition

API_KEY, VERSION = 1, 11

#: A partition that is asked for: its place, aiokafka's state of it, and the offset.
Asked = tuple[TopicPartition, Any, int]

_NO_REPLICA = _ANY_LEADER_EPOCH = _NO_LOG_START = -1

_HEADER = Struct(">hhi")  # the request's key and version, correlation id
_BEGIN = Struct(">iiiibii")  # replica, wait (ms), fewest and most bytes, isolation, session, its epoch
_PARTITION = Struct(">iiqqi")  # number, leader's epoch, offset, log start, most bytes
_COUNT = Struct(">i")
_LENGTH = Struct(">h")

_CORRELATION = Struct(">i")
_ANSWER = Struct(">ihii")  # throttled for (ms), error, session, topics
_ANSWERED = Struct(">ihqqqi")  # number, error, end, stable end, log start, aborted transactions
_ABORTED = Struct(">qq")  # producer id, first offset
_RECORDS = Struct(">ii")  # preferred replica, bytes of records


class AnswerHeader(NamedTuple):
    """What stands before each answer."""

    correlation_id: int


class FetchAnswer:
    """What a broker sends; the attributes are those of aiokafka's answer."""

    API_KEY, API_VERSION = API_KEY, VERSION

    __slots__ = ("error_code", "session_id", "topics")

    def __init__(self, frame: bytes) -> None:
        """Read an answer that begins with its header.

        Raises:
            struct.error: it is too short.
        """
        at = _CORRELATION.size
        _, self.error_code, self.session_id, topics = _ANSWER.unpack_from(frame, at)
        at += _ANSWER.size
        #: Of each topic, by partition: number, error, end, stable end and start of the log, the aborted
        #: transactions as (producer id, first offset), preferred replica, and the records' bytes.
        self.topics: list[tuple[str, list[tuple[Any, ...]]]] = []
        for _ in range(topics):
            (length,) = _LENGTH.unpack_from(frame, at)
            at += _LENGTH.size
            (partitions,) = _COUNT.unpack_from(frame, at + length)  # fails before a name that is cut short
            topic = frame[at : at + length].decode()
            at += length + _COUNT.size
            answered: list[tuple[Any, ...]] = []
            for _ in range(partitions):
                *first, aborted = _ANSWERED.unpack_from(frame, at)
                at += _ANSWERED.size
                transactions = None
                if aborted >= 0:
                    end = at + aborted * _ABORTED.size
                    transactions = list(_ABORTED.iter_unpack(frame[at:end]))
                    at = end
                replica, size = _RECORDS.unpack_from(frame, at)
                at += _RECORDS.size
                end = at + max(size, 0)
                answered.append((*first, transactions, replica, None if size < 0 else frame[at:end]))
                at = end
            self.topics.append((topic, answered))
        if at > len(frame):
            raise struct.error("the last records are cut short")

    @classmethod
    def decode(cls, frame: BytesIO) -> FetchAnswer:
        """Read an answer (called by aiokafka's connection)."""
        return cls(frame.getvalue())


class FetchOverWire:
    """A request that is ready to be sent; the attributes are those of aiokafka's structs."""

    API_KEY, API_VERSION = API_KEY, VERSION
    RESPONSE_TYPE = FetchAnswer

    def __init__(self, body: bytes) -> None:
        """Take what follows the header."""
        self._body = body

    def build_request_header(self, correlation_id: int, client_id: str) -> _Header:
        """Return the header (called by aiokafka's connection)."""
        name = client_id.encode()
        return _Header(_HEADER.pack(API_KEY, VERSION, correlation_id) + _LENGTH.pack(len(name)) + name)

    def encode(self) -> bytes:
        """Return what follows the header."""
        return self._body

    def parse_response_header(self, frame: BytesIO) -> AnswerHeader:
        """Read the header of an answer, which :class:`FetchAnswer` passes over."""
        return AnswerHeader(*_CORRELATION.unpack(frame.read(_CORRELATION.size)))


class _Header(NamedTuple):
    encoded: bytes

    def encode(self) -> bytes:
        return self.encoded


class Limits(NamedTuple):
    """What holds for a whole fetch."""

    wait: int  # milliseconds that the broker may hold it
    fewest: int  # bytes for which it is held no longer
    most: int  # bytes of the answer
    most_of_partition: int  # bytes
    isolation: int  # 1: committed records only
    rack: str


def request(
    limits: Limits, session: int, epoch: int, asked: Iterable[Asked], forgotten: Iterable[TopicPartition]
) -> FetchOverWire:
    """Return a request for these partitions, in a broker's fetch session (KIP-227)."""
    parts = [_BEGIN.pack(_NO_REPLICA, *limits[:3], limits.isolation, session, epoch)]
    by_topic: dict[str, list[bytes]] = {}
    most = limits.most_of_partition
    for (topic, number), _, offset in asked:
        by_topic.setdefault(topic, []).append(
            _PARTITION.pack(number, _ANY_LEADER_EPOCH, offset, _NO_LOG_START, most)
        )
    _put_topics(parts, by_topic)
    by_topic = {}
    for topic, number in forgotten:
        by_topic.setdefault(topic, []).append(_COUNT.pack(number))
    _put_topics(parts, by_topic)
    rack = limits.rack.encode()
    parts += (_LENGTH.pack(len(rack)), rack)
    return FetchOverWire(b"".join(parts))


def _put_topics(parts: list[bytes], by_topic: dict[str, list[bytes]]) -> None:
    parts.append(_COUNT.pack(len(by_topic)))
    for topic, partitions in by_topic.items():
        name = topic.encode()
        parts += (_LENGTH.pack(len(name)), name, _COUNT.pack(len(partitions)), *partitions)
