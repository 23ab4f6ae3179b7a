"""Who is who in the cluster, asked in the Kafka protocol at each question, over connections of its own."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.clients import administering

_GROUP, _TRANSACTION = 0, 1  # FindCoordinator's key types
_DESCRIBE_QUORUM = 55
_QUESTION_SECONDS = 8.0

Answer = TypeVar("Answer")


class Unbitten(AssertionError):
    """A fault had not the effect that it is there for: the run proves nothing."""


class Membership(NamedTuple):
    """A consumer group: its state and how many members it has."""

    state: str
    members: int


class Roles:
    """Asks the cluster behind `bootstrap_servers`."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers

    async def leader(self, topic: str, partition: int) -> int:
        """Return the broker that leads a partition; -1 for none."""
        async with self._asking() as admin:
            (described,) = await admin.describe_topics([topic])
        return next(int(each["leader"]) for each in described["partitions"] if each["partition"] == partition)

    async def group_coordinator(self, group: str) -> int:
        """Return the broker that coordinates a consumer group."""
        async with self._asking() as admin:
            return await admin.find_coordinator(group, _GROUP)

    async def transaction_coordinator(self, transactional_id: str) -> int:
        """Return the broker that coordinates the transactions of an id."""
        async with self._asking() as admin:
            return await admin.find_coordinator(transactional_id, _TRANSACTION)

    async def controller(self) -> int:
        """Return the active controller: the leader of the metadata quorum.

        Metadata responses name any broker as controller under KRaft, so DescribeQuorum is asked.
        """
        for server in self._servers.split(","):
            try:
                return await asyncio.wait_for(_quorum_leader(server), _QUESTION_SECONDS)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                continue
        raise ConnectionError("no broker can be asked for the quorum")

    async def membership(self, group: str) -> Membership:
        """Return a group's state."""
        async with self._asking() as admin:
            ((described,),) = [each.groups for each in await admin.describe_consumer_groups([group])]
        return Membership(str(described[2]), len(described[5]))

    async def all_in_sync(self, replicas: int) -> bool:
        """Whether every partition of every topic has `replicas` replicas in sync and a leader."""
        async with self._asking() as admin:
            topics = await admin.describe_topics()
        return all(
            len(each["isr"]) == replicas and each["leader"] >= 0
            for topic in topics
            for each in topic["partitions"]
        )

    async def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """Return the group's committed offset by partition; -1 where there is none."""
        places = [TopicPartition(topic, number) for number in range(partitions)]
        async with self._asking() as admin:
            found = await admin.list_consumer_group_offsets(group, partitions=places)
        if len(found) < partitions:
            raise KafkaError("the coordinator is still loading")
        return {place.partition: offset.offset for place, offset in found.items()}

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AIOKafkaAdminClient]:
        async with (
            asyncio.timeout(_QUESTION_SECONDS),
            administering(self._servers, request_timeout_ms=5_000) as admin,
        ):
            yield admin


async def until(
    what: str, condition: Callable[[], Awaitable[bool]], seconds: float, every: float = 0.3
) -> float:
    """Wait until `condition` holds; a cluster that cannot answer has not said yes. Returns the seconds.

    Raises:
        Unbitten: it did not.
    """
    began = time.monotonic()
    while True:
        try:
            if await condition():
                return time.monotonic() - began
        except (KafkaError, OSError, TimeoutError):
            pass
        if time.monotonic() - began > seconds:
            raise Unbitten(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(every)


async def _quorum_leader(server: str) -> int:
    # DescribeQuorum, version 0, request header version 2: aiokafka does not have it. Kafka's
    # DescribeQuorumRequest.json and DescribeQuorumResponse.json say what follows what.
    topic = b"__cluster_metadata"
    body = b"\x02" + bytes([len(topic) + 1]) + topic + b"\x02" + struct.pack(">i", 0) + b"\x00\x00\x00"
    frame = struct.pack(">hhih", _DESCRIBE_QUORUM, 0, 1, -1) + b"\x00" + body
    host, _, port = server.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(struct.pack(">i", len(frame)) + frame)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
    finally:
        writer.close()
    error, _, name_length = struct.unpack_from(">hBB", answer, 5)  # behind correlation id and tags
    at = 9 + name_length - 1 + 1
    _, partition_error, leader = struct.unpack_from(">ihi", answer, at)
    if error or partition_error:
        raise ConnectionError(f"DescribeQuorum: error {error or partition_error}")
    return int(leader)
