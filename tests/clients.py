"""What tests of several folders do to a cluster, and how they wait for what has no event."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from inspect import isawaitable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import OffsetAndMetadata

from streams.kafka import topics


def administering(
    bootstrap_servers: str, **connection: Any
) -> AbstractAsyncContextManager[AIOKafkaAdminClient]:
    """An admin client of the cluster, directly."""
    return topics.administering({"bootstrap_servers": bootstrap_servers, **connection})


async def make_topics(bootstrap_servers: str, partitions: int, *names: str, **configs: str) -> None:
    """Make topics with one replica, and wait for them; `configs` has Kafka's names with `_` for dots."""
    settings = {name.replace("_", "."): value for name, value in configs.items()}
    async with administering(bootstrap_servers) as admin:

        async def there() -> bool:
            return set(names) <= set(await admin.list_topics())

        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings) for name in names])
        await happens(there)


async def forget_group(bootstrap_servers: str, group: str) -> None:
    """Delete a group without members, and all offsets that it has committed."""
    async with administering(bootstrap_servers) as admin:
        coordinator = await admin.find_coordinator(group)
        answer = await admin._send_request_to_node(coordinator, DeleteGroupsRequest([group]))
        assert answer.results == [(group, 0)]


async def commit(
    bootstrap_servers: str, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]
) -> None:
    """Commit offsets for a group without members."""
    options: dict[str, Any] = {"group_id": group, "enable_auto_commit": False}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, **options) as consumer:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)


async def happens(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until a condition, which may be a coroutine function, holds; return what it said."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


def set_quota(bootstrap_servers: str, kind: str, name: str | None, bytes_a_second: float) -> None:
    """Let clients of this user or client-id (None: of any other) write so many bytes a second.

    By AlterClientQuotas, version 0.
    """
    host, port = bootstrap_servers.split(":")

    def text(value: str | None) -> bytes:
        return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()

    entity = struct.pack(">i", 1) + text(kind) + text(name)
    change = struct.pack(">i", 1) + text("producer_byte_rate") + struct.pack(">d?", bytes_a_second, False)
    request = struct.pack(">hhih", 49, 0, 1, -1) + struct.pack(">i", 1) + entity + change + b"\0"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb").read(18)
    assert struct.unpack(">h", answer[16:])[0] == 0, answer
