"""Requests that aiokafka does not have: what a broker supports, and its transactions.

After Kafka's protocol guide: ApiVersions 3 (KIP-511, KIP-584), ListTransactions and DescribeTransactions 0
(KIP-664). All are "flexible" (KIP-482): compact arrays and strings, tagged fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Array,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)

_TEXT = CompactString("utf-8")


class CompactArray(Array):  # type: ignore[misc]  # aiokafka ships no types
    """An array whose length is a varint, one more than it is; 0 is null."""

    def encode(self, items: Sequence[Any] | None) -> bytes:
        """Encode it."""
        if items is None:
            return bytes(UnsignedVarInt32.encode(0))
        return b"".join(
            [UnsignedVarInt32.encode(len(items) + 1), *(self.array_of.encode(item) for item in items)]
        )

    def decode(self, data: BytesIO) -> list[Any] | None:
        """Decode it."""
        length = UnsignedVarInt32.decode(data) - 1
        return None if length < 0 else [self.array_of.decode(data) for _ in range(length)]


class _ApiVersionsResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_versions",
            CompactArray(
                ("api_key", Int16), ("min_version", Int16), ("max_version", Int16), ("tags", TaggedFields)
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _ApiVersionsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    FLEXIBLE_VERSION = True
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = _ApiVersionsResponse
    SCHEMA = Schema(("name", _TEXT), ("version", _TEXT), ("tags", TaggedFields))

    def parse_response_header(self, read_buffer: BytesIO) -> Any:
        """The one flexible response with the old header: the broker's version is not known yet (KIP-511)."""
        return ResponseHeader_v0.decode(read_buffer)


class ApiVersions(Request[_ApiVersionsStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """Asks what the broker supports, its features with it."""

    API_KEY = 18

    def build(self, request_struct_class: Any) -> Any:
        """Make the request."""
        return request_struct_class("confirmation-streams", "doctor", {})


_FEATURES = CompactArray(("name", _TEXT), ("min", Int16), ("max", Int16), ("tags", TaggedFields))
_SUPPORTED_FEATURES = 0  # tag


def supported_feature(response: Any, name: str) -> int | None:
    """The highest level of a feature that the broker supports; None where it does not say."""
    raw = response.tags.get(_SUPPORTED_FEATURES)
    for found, _, highest, _ in (_FEATURES.decode(BytesIO(raw)) or ()) if raw is not None else ():
        if found == name:
            return int(highest)
    return None


class _ListTransactionsResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(_TEXT)),
        (
            "transactions",
            CompactArray(
                ("transactional_id", _TEXT), ("producer_id", Int64), ("state", _TEXT), ("tags", TaggedFields)
            ),
        ),
        ("tags", TaggedFields),
    )


class _ListTransactionsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    FLEXIBLE_VERSION = True
    API_KEY = 66
    API_VERSION = 0
    RESPONSE_TYPE = _ListTransactionsResponse
    SCHEMA = Schema(
        ("state_filters", CompactArray(_TEXT)),
        ("producer_id_filters", CompactArray(Int64)),
        ("tags", TaggedFields),
    )


class ListTransactions(Request[_ListTransactionsStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """Asks a broker for the open transactions that it coordinates (all that one may see)."""

    API_KEY = 66

    def build(self, request_struct_class: Any) -> Any:
        """Make the request."""
        return request_struct_class(["Ongoing", "PrepareCommit", "PrepareAbort"], [], {})


class _DescribeTransactionsResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", _TEXT),
                ("state", _TEXT),
                ("timeout_ms", Int32),
                ("start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(
                        ("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeTransactionsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    FLEXIBLE_VERSION = True
    API_KEY = 65
    API_VERSION = 0
    RESPONSE_TYPE = _DescribeTransactionsResponse
    SCHEMA = Schema(("transactional_ids", CompactArray(_TEXT)), ("tags", TaggedFields))


class DescribeTransactions(Request[_DescribeTransactionsStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """Asks a coordinator since when, and in which partitions, transactions are open."""

    API_KEY = 65

    def __init__(self, transactional_ids: Sequence[str]) -> None:
        """Name them."""
        self._transactional_ids = list(transactional_ids)

    def build(self, request_struct_class: Any) -> Any:
        """Make the request."""
        return request_struct_class(self._transactional_ids, {})
