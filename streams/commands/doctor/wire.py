"""Requests that aiokafka does not have: a broker's transactions.

After Kafka's protocol guide: ListTransactions and DescribeTransactions 0 (KIP-664). Both are "flexible"
(KIP-482): compact arrays and strings, tagged fields.
"""

from collections.abc import Sequence
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

_TEXT = CompactString("utf-8")


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
