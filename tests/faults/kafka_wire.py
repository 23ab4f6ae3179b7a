"""As much of Kafka's wire protocol as the proxy has to understand.

Frames are a length (4 bytes) and a message; a request's header has api key, version, correlation id and
client id. The bodies that are read or written here are decoded with the client library's own classes, so the
versions are those that it speaks.
"""

import asyncio
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import cached_property
from io import BytesIO
from typing import Any

from aiokafka.protocol import commit, coordination, group, metadata, produce, transaction
from aiokafka.protocol.types import CompactString, String

from streams.delivery import transaction_requests  # they speak versions that the client library does not
from streams.kafka import authorization, topic_ids

#: Host and port.
Address = tuple[str, int]

_HEADER = struct.Struct(">hhi")
_LENGTH = struct.Struct(">i")
_MOST = 128 << 20  # bytes; a longer frame is no Kafka


class Api(IntEnum):
    """Api keys, from https://kafka.apache.org/protocol#protocol_api_keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


#: Requests that name a transactional.id as the first field of their body.
TRANSACTIONAL = frozenset(
    {
        Api.PRODUCE,
        Api.INIT_PRODUCER_ID,
        Api.ADD_PARTITIONS_TO_TXN,
        Api.ADD_OFFSETS_TO_TXN,
        Api.END_TXN,
        Api.TXN_OFFSET_COMMIT,
    }
)


def _requests() -> Iterator[type[Any]]:
    theirs = (commit, coordination, group, metadata, produce, transaction)
    for module in (*theirs, authorization, topic_ids, transaction_requests):
        for found in vars(module).values():
            if isinstance(found, type) and hasattr(found, "RESPONSE_TYPE"):
                yield found


_KNOWN: dict[tuple[int, int], type[Any]] = {
    (known.API_KEY, known.API_VERSION): known for known in _requests()
}


class Request:
    """One request, undecoded until somebody asks."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.api, self.version, self.correlation = _HEADER.unpack_from(frame)
        (length,) = struct.unpack_from(">h", frame, _HEADER.size)
        self._body_at = _HEADER.size + 2 + max(length, 0)

    @cached_property
    def body(self) -> Any:
        """The request's fields, e.g. `body.producer_epoch`."""
        return self._class.decode(BytesIO(self.frame[self._body_at + self._tags :]))

    @property
    def transactional_id(self) -> str | None:
        if self.api not in TRANSACTIONAL or (self.api == Api.PRODUCE and self.version < 3):
            return None
        body = BytesIO(self.frame[self._body_at + self._tags :])
        text = CompactString("utf-8") if self.flexible else String("utf-8")
        return text.decode(body)

    @property
    def expects_answer(self) -> bool:
        """All do, but a produce request with acks=0."""
        return self.api != Api.PRODUCE or self.body.required_acks != 0

    def response(self, frame: bytes) -> Any:
        """Decode the response to this request."""
        return self._class.RESPONSE_TYPE.decode(BytesIO(frame[self.answer_at :]))

    @property
    def answer_at(self) -> int:
        """Where the body begins in the response to this request. ApiVersions always has the old header."""
        return 4 if self.api == Api.API_VERSIONS else 4 + self._tags

    @property
    def _tags(self) -> int:
        """Bytes of the tagged fields in a flexible version's headers: none are used, which takes one."""
        return int(self.flexible)

    def refusal(self, code: int) -> bytes:
        """Return a response frame that says error `code`, for every partition where there are several."""
        answer = self._class.RESPONSE_TYPE
        fields = _refusals(self)[Api(self.api)](code)
        return (
            self.correlation.to_bytes(4, "big")
            + bytes(self.answer_at - 4)
            + answer(*[fields[name] for name in answer.SCHEMA.names]).encode()
        )

    @property
    def flexible(self) -> bool:
        """Whether this version has tagged fields (KIP-482)."""
        return bool(self._class.FLEXIBLE_VERSION)

    @property
    def _class(self) -> Any:
        return _KNOWN[self.api, self.version]


def _refusals(request: Request) -> dict[Api, Callable[[int], dict[str, Any]]]:
    plain = {"throttle_time_ms": 0, "tags": {}}
    tags = ({},) if request.flexible else ()

    def simple(code: int) -> dict[str, Any]:
        return {**plain, "error_code": code}

    def per_partition(code: int) -> dict[str, Any]:
        topics = [
            (
                topic,
                [(each[0] if isinstance(each, tuple) else each, code, *tags) for each in partitions],
                *tags,
            )
            for topic, partitions, *_ in request.body.topics
        ]
        return {**plain, "errors": topics, "topics": topics}

    def produced(code: int) -> dict[str, Any]:
        more = ([], None) if request.version >= 8 else ()
        start = (-1,) if request.version >= 5 else ()
        topics = [
            (topic, [(number, code, -1, -1, *start, *more, *tags) for number, *_ in partitions], *tags)
            for topic, partitions, *_ in request.body.topics
        ]
        return {**plain, "topics": topics}

    def init(code: int) -> dict[str, Any]:
        return {**simple(code), "producer_id": -1, "producer_epoch": -1}

    def versions(code: int) -> dict[str, Any]:
        return {**simple(code), "api_versions": []}

    def coordinator(code: int) -> dict[str, Any]:
        return {**simple(code), "error_message": None, "coordinator_id": -1, "host": "", "port": -1}

    return {
        Api.PRODUCE: produced,
        Api.OFFSET_COMMIT: per_partition,
        Api.FIND_COORDINATOR: coordinator,
        Api.HEARTBEAT: simple,
        Api.LEAVE_GROUP: simple,
        Api.INIT_PRODUCER_ID: init,
        Api.ADD_PARTITIONS_TO_TXN: per_partition,
        Api.ADD_OFFSETS_TO_TXN: simple,
        Api.END_TXN: init,
        Api.API_VERSIONS: versions,
        Api.TXN_OFFSET_COMMIT: per_partition,
    }


def readdressed(request: Request, frame: bytes, to: Callable[[Address], Address]) -> bytes:
    """Return a Metadata or FindCoordinator response with every broker's address replaced."""
    response = request.response(frame)
    if request.api == Api.METADATA:
        response.brokers = [(node, *to((host, port)), *rest) for node, host, port, *rest in response.brokers]
    elif response.port > 0:
        response.host, response.port = to((response.host, response.port))
    return frame[: request.answer_at] + response.encode()


def brokers_in(request: Request, frame: bytes) -> set[Address]:
    """Return the addresses that a Metadata or FindCoordinator response names."""
    response = request.response(frame)
    if request.api == Api.METADATA:
        return {(host, port) for _, host, port, *_ in response.brokers}
    return {(response.host, response.port)} if response.port > 0 else set()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read one message.

    Raises:
        asyncio.IncompleteReadError, OSError: the connection ended.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(4))
    if not 0 < length < _MOST:
        raise asyncio.IncompleteReadError(b"", length)
    return await reader.readexactly(length)


def write_frame(writer: asyncio.StreamWriter, frame: bytes) -> None:
    """Write one message."""
    writer.write(_LENGTH.pack(len(frame)))
    writer.write(frame)
