"""The cluster's id, and a topic's: a topic that is deleted and made again has the same name and another id.

aiokafka does not ask for them. After Kafka's protocol guide: Metadata 10, the first with topic ids (Kafka
2.8).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

_TEXT = CompactString("utf-8")


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]  # aiokafka ships no types
    """Sixteen bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class _Response(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields)
            ),
        ),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _TEXT), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIdRequest(Request[_Struct]):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([(bytes(16), self._topic, {})], False, False, False, {})


class Ids(NamedTuple):
    """Hexadecimal or as the cluster writes them; "" where the brokers have none."""

    cluster: str
    topic: str


async def ids_of(admin: AIOKafkaAdminClient, topic: str) -> Ids:
    """Return the ids of the cluster and of `topic`, which exists.

    Raises:
        KafkaError: the cluster cannot be asked, or does not know the topic yet.
    """
    try:
        response: Any = await admin._send_request(_TopicIdRequest(topic))
    except NotImplementedError:  # before Kafka 2.8
        return Ids("", "")
    for code, name, topic_id, *_ in response.topics:
        if name == topic:
            if (error := for_code(code)) is not NoError:
                raise error(topic)
            return Ids(response.cluster_id or "", topic_id.hex())
    return Ids(response.cluster_id or "", "")


async def topic_id_of(admin: AIOKafkaAdminClient, topic: str) -> str:
    """Return the id of `topic` in hexadecimal digits, "" where the brokers have none; raises KafkaError."""
    return (await ids_of(admin, topic)).topic
