"""Is the cluster ready? Asked in the Kafka protocol, over plain blocking sockets.

Synchronous on purpose: `EmbeddedKafka` is also started from inside a running event loop. The request
schemas are aiokafka's; brokers of Kafka 4 still take these versions (KIP-896 removed older ones).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterable
from io import BytesIO
from typing import Any

from aiokafka.protocol.admin import ListGroupsRequest_v1
from aiokafka.protocol.coordination import FindCoordinatorRequest_v1
from aiokafka.protocol.metadata import MetadataRequest_v1

from streams.sandbox.kafka.properties import Node

INTERNAL_TOPICS = ("__consumer_offsets", "__transaction_state")

_CLIENT_ID = b"embedded-readiness"
_REQUEST_SECONDS = 5.0
_GROUP, _TRANSACTION = 0, 1  # FindCoordinator's key types
_LIST_TRANSACTIONS = 66
_NO_ERROR = 0


class _Connection:
    """One request at a time to one broker."""

    def __init__(self, node: Node) -> None:
        host, port = node.address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=_REQUEST_SECONDS)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def ask(self, request: Any) -> Any:
        """Send one of aiokafka's request structures (header version 1) and decode the response."""
        body = self._exchange(request.API_KEY, request.API_VERSION, request.encode())
        return request.RESPONSE_TYPE.decode(BytesIO(body))

    def transactions_error(self) -> int:
        """The error code of ListTransactions version 0, which aiokafka does not have (header version 2)."""
        no_filters = b"\x00" + b"\x01\x01" + b"\x00"  # header tags; two empty compact arrays; tags
        body = self._exchange(_LIST_TRANSACTIONS, 0, no_filters)
        _throttle, error = struct.unpack_from(">ih", body, 1)  # behind the response header's tags
        return int(error)

    def _exchange(self, api_key: int, version: int, body: bytes) -> bytes:
        header = struct.pack(">hhih", api_key, version, 0, len(_CLIENT_ID)) + _CLIENT_ID
        self._socket.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        (size,) = struct.unpack(">i", self._read(4))
        return self._read(size)[4:]

    def _read(self, size: int) -> bytes:
        received = self._stream.read(size)
        if len(received) < size:
            raise ConnectionResetError("the broker closed the connection")
        return received


def not_ready(nodes: Collection[Node]) -> str | None:
    """What is still missing before clients can work with all of `nodes`, or None when nothing is.

    Ready means: every one of them answers and sees all of them; the topics of the group and transaction
    coordinators exist with a leader for every partition and every one of these nodes in sync; and no
    coordinator is still loading.
    """
    expected = {node.id for node in nodes}
    for node in nodes:
        try:
            with _Connection(node) as connection:
                missing = _missing(connection, expected)
        except (OSError, ValueError, struct.error) as error:  # refused, hung up, or a cut-short answer
            return f"broker {node.id} does not answer ({type(error).__name__})"
        if missing:
            return f"broker {node.id}: {missing}"
    return None


def _missing(connection: _Connection, expected: set[int]) -> str | None:
    """One broker's view."""
    metadata = connection.ask(MetadataRequest_v1(list(INTERNAL_TOPICS)))
    seen = {broker[0] for broker in metadata.brokers}
    if not expected <= seen:
        return f"sees {len(expected & seen)} of {len(expected)} brokers"
    for (error, topic, _, partitions), kind in zip(metadata.topics, (_GROUP, _TRANSACTION), strict=True):
        if error != _NO_ERROR:
            # Asking for a coordinator creates its topic, also where automatic creation is off.
            connection.ask(FindCoordinatorRequest_v1("readiness", kind))
            return f"{topic} does not exist yet"
        if not all(_in_order(partition, expected) for partition in partitions):
            return f"{topic} has partitions without a leader or out of sync"
    if connection.ask(ListGroupsRequest_v1()).error_code != _NO_ERROR:
        return "the group coordinator is loading"
    if connection.transactions_error() != _NO_ERROR:
        return "the transaction coordinator is loading"
    return None


def _in_order(partition: Iterable[Any], expected: set[int]) -> bool:
    error, _, leader, replicas, in_sync = partition
    # Error 9 (REPLICA_NOT_AVAILABLE) only says that a broker that we do not wait for is down.
    return error in (_NO_ERROR, 9) and leader in expected and (expected & set(replicas)) <= set(in_sync)
