"""Which rights the brokers give us, asked before the first record: what is missing is said at the start.

Without this a missing right shows late and by another name: a topic that one may not describe looks as if it
were missing, and the coordinator's refusal like a cluster that is not well. Brokers tell what one may do with
a topic or group since Kafka 2.3 (KIP-430); older ones are not asked, and neither is one that tells nothing.
"""

from collections.abc import Iterable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from streams.kafka.acls import Acl

_GROUP, _TRANSACTION = 0, 1  # FindCoordinator's key types
#: Positions in the bit field of KIP-430 (org.apache.kafka.common.acl.AclOperation).
_BITS = {"Read": 3, "Write": 4, "Describe": 8}
_TEXT = String("utf-8")


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class TopicRights(Request[_MetadataStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """Asks what we may do with topics; makes none."""

    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        """Name them."""
        self._topics = list(topics)

    def build(self, request_struct_class: Any) -> Any:
        """Make the request."""
        return request_struct_class(self._topics, False, False, True)


class _GroupStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    # aiokafka's own reads the answer of version 2.
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class GroupRights(Request[_GroupStruct]):  # type: ignore[misc]  # aiokafka ships no types
    """Asks a group's coordinator what we may do with it."""

    API_KEY = 15

    def __init__(self, group: str) -> None:
        """Name it."""
        self._group = group

    def build(self, request_struct_class: Any) -> Any:
        """Make the request."""
        return request_struct_class([self._group], True)


async def missing(admin: AIOKafkaAdminClient, needed: Iterable[Acl]) -> list[Acl]:
    """Return those of `needed` that the brokers say we do not have.

    Of a topic that does not exist nothing is said. DescribeConfigs and Create are left out: what is unknown
    without the first has a default, and without the second a topic that is missing has its own sentence.

    Raises:
        KafkaError: the cluster cannot be asked.
    """
    wanted = [acl for acl in needed if acl.operation in _BITS]
    topics = {acl.name for acl in wanted if acl.resource == "topic"}
    denied, granted = await _topics(admin, sorted(topics))
    found = []
    for acl in wanted:
        if acl.resource == "topic":
            bits = granted.get(acl.name)
            if acl.name in denied or (bits is not None and not bits >> _BITS[acl.operation] & 1):
                found.append(acl)
        elif not await _allowed(admin, acl):
            found.append(acl)
    return found


def sentence(lacking: Iterable[Acl]) -> str:
    """Say what a worker lacks, and where to read how it is given."""
    return f"{denied(lacking)}: `streams acls` prints what a worker needs"


def denied(lacking: Iterable[Acl]) -> str:
    """Say what is missing."""
    listed = ", ".join(f"{acl.operation} on {_KINDS[acl.resource]} {_shown(acl)}" for acl in lacking)
    return f"the brokers do not allow this user {listed}"


_KINDS = {"topic": "topic", "group": "group", "transactionalId": "transactional.id"}


def _shown(acl: Acl) -> str:
    return f"{acl.name}*" if acl.pattern == "prefix" else acl.name


async def _topics(admin: Any, names: list[str]) -> tuple[set[str], dict[str, int]]:
    """Topics that we may not even describe, and by topic what we may do, where the broker tells."""
    try:
        response: Any = await admin._send_request(TopicRights(names))
    except NotImplementedError:  # an older broker
        return set(), {}
    denied, granted = set(), {}
    for code, name, _, _, bits in response.topics:
        if code == TopicAuthorizationFailedError.errno:
            denied.add(name)
        elif code == 0 and bits >= 0 and bits >> _BITS["Describe"] & 1:  # else it tells nothing
            granted[name] = bits
    return denied, granted


async def _allowed(admin: Any, acl: Acl) -> bool:
    """Whether a coordinator is named to us, which takes Describe; of a group also whether we may read it."""
    if acl.resource == "group":
        request = FindCoordinatorRequest(acl.name, _GROUP)
    else:
        request = FindCoordinatorRequest(
            f"{acl.name}0" if acl.pattern == "prefix" else acl.name, _TRANSACTION
        )
    found: Any = await admin._send_request(request)
    if found.error_code:
        return found.error_code not in (
            GroupAuthorizationFailedError.errno,
            TransactionalIdAuthorizationFailed.errno,
        )
    if acl.resource != "group":
        return True
    try:
        described: Any = await admin._send_request(GroupRights(acl.name), found.coordinator_id)
    except NotImplementedError:  # an older broker
        return True
    ((code, *_, bits),) = described.groups
    return code != 0 or bits < 0 or bool(bits >> _BITS[acl.operation] & 1)
