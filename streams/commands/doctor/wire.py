"""Requests that aiokafka does not have: a broker's transactions, and the quotas of clients.

After Kafka's protocol guide: ListTransactions and DescribeTransactions 0 (KIP-664), which are "flexible"
(KIP-482): compact arrays and strings, tagged fields; and DescribeClientQuotas 0 (KIP-546), which is not.
"""

from collections.abc import Sequence
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

_TEXT = CompactString("utf-8")
_OLD_TEXT = String("utf-8")


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


class _DescribeClientQuotasResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 48
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _OLD_TEXT),
        (
            "entries",
            Array(
                ("entity", Array(("entity_type", _OLD_TEXT), ("entity_name", _OLD_TEXT))),
                ("values", Array(("key", _OLD_TEXT), ("value", Float64))),
            ),
        ),
    )


class _DescribeClientQuotasStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 48
    API_VERSION = 0
    RESPONSE_TYPE = _DescribeClientQuotasResponse
    SCHEMA = Schema(
        ("components", Array(("entity_type", _OLD_TEXT), ("match_type", Int8), ("match", _OLD_TEXT))),
        ("strict", Boolean),
    )


class DescribeClientQuotas(Request[_DescribeClientQuotasStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """Asks for all quotas of clients."""

    API_KEY = 48

    def build(self, request_struct_class: Any) -> Any:
        """Make the request."""
        return request_struct_class([], False)
