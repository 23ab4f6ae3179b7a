"""Members of a consumer group with web ports of their own: what other workers see of a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from streams.kafka.members import FIELD, Published, group_of
from tests.clients import administering
from tests.observability.page.test_overview import FakeWorker

Answer = Callable[[web.Request], Any]


class _Assignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka's
    """Shares partitions out, under the name of Faust's assignor."""

    name = "faust"

    def __init__(self, published: Published | None) -> None:
        self._published = published

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Publish, if there is something to publish."""
        fields = {} if self._published is None else {FIELD: asdict(self._published)}
        return ConsumerProtocolMemberMetadata(0, list(topics), orjson.dumps(fields))


def document(published: Published, worker: FakeWorker | None = None) -> dict[str, Any]:
    """Return what a worker's /live says of it."""
    of = {"worker": published.worker, "run": published.run}
    return {**(worker or FakeWorker()).described(), **of}


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """Answer each request for /live on a port, which is yielded."""
    app = web.Application()
    app.router.add_get("/live", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def joined(
    servers: str, group: str, topic: str, published: Sequence[Published | None]
) -> AsyncIterator[None]:
    """Let one member a thing that is published join a group, and wait until all are in it."""
    async with AsyncExitStack() as stack:
        for each in published:
            consumer = AIOKafkaConsumer(
                topic,
                bootstrap_servers=servers,
                group_id=group,
                partition_assignment_strategy=[_Assignor(each)],
                enable_auto_commit=False,
                heartbeat_interval_ms=100,
            )
            await consumer.start()
            stack.push_async_callback(consumer.stop)
        admin = await stack.enter_async_context(administering(servers))
        while True:  # each question waits for the coordinator
            found = await group_of(admin, group)
            if found.state == "Stable" and len(found.members) == len(published):
                break
        yield
