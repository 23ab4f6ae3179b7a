"""The workers of a consumer group, and where each can be asked: its members publish it in the group itself.

With each request to join, Faust's assignor sends metadata in JSON. The worker adds one field to it. Faust
reads past a field that it does not know, so workers with and without this field share a group, whichever of
them leads it.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from streams.kafka.group import described, stranger
from streams.settings.table import Settings
from streams.settings.values import servers

#: The field of the metadata.
FIELD = "pages"
#: Listening there means: at every address of this machine.
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not listened at
_LONGEST = 300  # characters of what another member publishes


@dataclass(frozen=True, slots=True)
class Published:
    """What a worker tells its group of itself."""

    worker: str  # its name
    address: str  # host:port of its web port
    run: str  # no other process has it, not even the same worker after a restart


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the group.

    Attributes:
        id: that the coordinator gave it.
        published: None: it publishes nothing, or the coordinator does not tell (`told`).
        told: whether the coordinator tells what its members published; during a rebalance it does not.
    """

    id: str
    published: Published | None
    told: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """What the coordinator says of a group.

    Attributes:
        state: as Kafka calls it: Stable, PreparingRebalance, CompletingRebalance, Empty, Dead.
        stranger: who else uses the group, a sentence; None: nobody.
        members: in no order.
    """

    state: str
    stranger: str | None
    members: Sequence[Member]


def published_by(settings: Settings) -> Published:
    """Return what a worker with these settings publishes, from its start to its end."""
    name = socket.gethostname()
    listens_at = name if settings.web_host in _EVERY_ADDRESS else settings.web_host
    return Published(
        settings.group_instance_id or name,
        _with_port(settings.web_address or listens_at, settings.web_port),
        secrets.token_hex(8),
    )


def _with_port(address: str, port: int) -> str:
    try:
        is_ipv6 = ip_address(address).version == 6
    except ValueError:
        return address if ":" in address else f"{address}:{port}"
    return f"[{address}]:{port}" if is_ipv6 else f"{address}:{port}"


def host_of(address: str) -> str:
    """Return the host of host:port, as a request's Host header has it: without brackets."""
    return address.rpartition(":")[0].strip("[]")


class PublishingAssignor(PartitionAssignor):
    """Faust's assignor, which also publishes where its worker can be asked."""

    def __init__(self, published: Published, app: Any, **options: Any) -> None:
        """Publish `published`; the rest is Faust's."""
        super().__init__(app, **options)
        self.published = published

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Return what is sent with a request to join; called by aiokafka."""
        own = super().metadata(topics)
        user_data = orjson.dumps({**orjson.loads(own.user_data), FIELD: asdict(self.published)})
        return ConsumerProtocolMemberMetadata(own.version, own.subscription, user_data)


async def group_of(admin: AIOKafkaAdminClient, name: str) -> Group:
    """Ask the coordinator for the group `name`. Raises KafkaError."""
    answer = await described(admin, name)
    _, _, state, _, _, members, *_ = answer
    return Group(
        state,
        stranger(name, answer),
        [
            Member(member_id, _published(bytes(metadata or b"")), told=bool(metadata))
            for member_id, _, _, metadata, *_ in members
        ],
    )


def _published(metadata: bytes) -> Published | None:
    """Return what a member published; None: nothing, or nothing that can be asked."""
    try:
        given = orjson.loads(ConsumerProtocolMemberMetadata.decode(metadata).user_data)[FIELD]
        worker, address, run = (given[name] for name in ("worker", "address", "run"))
        is_one = servers(address) == (address,)
    except Exception:  # whatever a stranger's client sends to the group
        return None
    texts = worker, address, run
    plain = all(isinstance(each, str) and each.isprintable() and len(each) <= _LONGEST for each in texts)
    return Published(*texts) if is_one and plain else None
