"""Requests and answers that aiokafka lacks: version 2 of transactions (KIP-890), decided offsets (KIP-447).

Names and versions are the protocol's (https://kafka.apache.org/protocol). All are of the flexible kind, with
tags (KIP-482).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Self

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from streams.delivery import transaction_wire as wire
from streams.delivery.transaction_wire import WithoutTags

NO_TAGS: dict[int, bytes] = {}
_TEXT = CompactString("utf-8")


class _Fields:
    """Takes a value for each field of its schema: a mixin for aiokafka's structs, whose own way is slower."""

    SCHEMA: Schema

    def __init__(self, *values: Any) -> None:
        self.__dict__.update(zip(self.SCHEMA.names, values, strict=True))


class InOneVersion(_Fields):
    """A request in one version, whatever the broker prefers: a mixin for aiokafka's structs."""

    API_KEY: int
    API_VERSION: int

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Self:
        """Return the request as it goes over the wire (called by aiokafka's connection).

        Raises:
            IncompatibleBrokerVersion: the broker does not know this version of it.
        """
        lowest, highest = versions.get(self.API_KEY, (0, -1))
        if not lowest <= self.API_VERSION <= highest:
            raise IncompatibleBrokerVersion(f"the broker does not know {type(self).__name__}")
        return self


class _UsualAnswer(_Fields, Response):  # type: ignore[misc]  # aiokafka ships no types
    """An answer that is nearly always of one form, and is read by its schema where it is not."""

    #: Reads the body from a byte on; None: it is of another form.
    usual: Callable[[bytes, int], tuple[Any, ...] | None]

    @classmethod
    def decode(cls, frame: BytesIO) -> Any:
        """Read the answer's body (called by aiokafka's connection)."""
        values = cls.usual(frame.getvalue(), frame.tell())
        return super().decode(frame) if values is None else cls(*values)


class ProduceResponse_v12(_UsualAnswer):
    """What a leader says of each batch."""

    API_KEY = 0
    API_VERSION = 12
    usual = staticmethod(wire.read_written)
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("base_offset", Int64),
                        ("log_append_time", Int64),
                        ("log_start_offset", Int64),
                        (
                            "record_errors",
                            CompactArray(("number", Int32), ("text", _TEXT), ("tags", TaggedFields)),
                        ),
                        ("error_message", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class ProduceRequest_v12(InOneVersion, WithoutTags, RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """Batches of several partitions with the same leader."""

    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse_v12
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("required_acks", Int16),
        ("timeout", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("batch", CompactBytes), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )

    def encode(self) -> bytes:
        """Return the request's bytes, as its schema gives them."""
        return wire.produce(self.transactional_id, self.required_acks, self.timeout, self.topics)


class TxnOffsetCommitResponse_v5(_UsualAnswer):
    """What the group coordinator says of each offset."""

    API_KEY = 28
    API_VERSION = 5
    usual = staticmethod(wire.read_committed)
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequest_v5(InOneVersion, WithoutTags, RequestStruct):  # type: ignore[misc]  # as above
    """Offsets that are committed with a transaction."""

    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse_v5
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )

    def encode(self) -> bytes:
        """Return the request's bytes, as its schema gives them."""
        return wire.commit_offsets(
            (self.transactional_id, self.group_id),
            (self.producer_id, self.producer_epoch),
            (self.generation_id, self.member_id, self.group_instance_id),
            self.topics,
        )


class OffsetFetchResponse_v7(Response):  # type: ignore[misc]  # aiokafka ships no types
    """What a group has committed."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetchRequest_v7(InOneVersion, RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """Asks for what a group has committed, and for an error where that is undecided (KIP-447)."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse_v7
    SCHEMA = Schema(
        ("group_id", _TEXT),
        (
            "topics",
            CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class EndTxnResponse_v5(_UsualAnswer):
    """The producer id and the epoch of the next transaction."""

    API_KEY = 26
    API_VERSION = 5
    usual = staticmethod(wire.read_ended)
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class EndTxnRequest_v5(InOneVersion, WithoutTags, RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """A transaction's end."""

    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse_v5
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("commit", Boolean),
        ("tags", TaggedFields),
    )

    def encode(self) -> bytes:
        """Return the request's bytes, as its schema gives them."""
        return wire.end(self.transactional_id, self.producer_id, self.producer_epoch, self.commit)


#: The tag of the answer's features that the whole cluster has agreed on, and what is in it.
FINALIZED_FEATURES = 2
FEATURES = CompactArray(("name", _TEXT), ("highest", Int16), ("lowest", Int16), ("tags", TaggedFields))


class ApiVersionsResponse_v3(Response):  # type: ignore[misc]  # aiokafka ships no types
    """What a broker knows, and the cluster's features among the tags."""

    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_versions",
            CompactArray(("api_key", Int16), ("lowest", Int16), ("highest", Int16), ("tags", TaggedFields)),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class ApiVersionsRequest_v3(InOneVersion, RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    """Asks what a broker knows."""

    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ApiVersionsResponse_v3
    SCHEMA = Schema(("software_name", _TEXT), ("software_version", _TEXT), ("tags", TaggedFields))

    def parse_response_header(self, read_buffer: Any) -> Any:
        """Read the header of the answer: the old one, so that a client of any version can read it."""
        return ResponseHeader_v0.decode(read_buffer)
