"""A Faust transport that hands agents a fetched chunk at a time: ``chunks://host:port``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableSet
from typing import Any

from faust.transport.conductor import Conductor
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka.chunks import schema_of
from streams.kafka.consumer import ChunkConsumer

SCHEME = "chunks"


class ChunkConductor(Conductor):
    """Puts a chunk on the queue of each agent of its topic."""

    def _build_handler(self, tp: TP, channels: MutableSet[Any]) -> Any:
        if schema_of(channels) is None:
            return super()._build_handler(tp, channels)
        app = self.app

        async def on_chunk(message: Any) -> None:
            await app.flow_control.acquire()
            message.incref(len(channels))
            event = None
            for channel in channels:
                if event is None:
                    event = await channel.decode(message, propagate=True)
                await channel.queue.put(event)  # waits while the queue is full: back pressure

        return on_chunk


class ChunkProducer(driver.Producer):
    """Faust's producer, which also takes many records of one partition at once."""

    async def create_topic(self, *_: Any, **__: Any) -> None:
        """Topics are made, with their settings checked, before this producer starts."""

    @property
    def client(self) -> Any:
        """The started aiokafka producer."""
        return self._ensure_producer()

    async def send_many(
        self, topic: str, partition: int, rows: Iterable[tuple[bytes | None, bytes | None, list[Any]]]
    ) -> int | None:
        """Write `rows` (key, value, headers) and wait until the broker has all of them.

        Returns:
            The offset of the last one, or None when there was none.

        Raises:
            KafkaError: some may be written, some not.
        """
        producer = self._ensure_producer()
        deliveries = []
        batch = producer.create_batch()
        rows_in_batch = 0
        for key, value, headers in rows:
            if batch.append(key=key, value=value, headers=headers, timestamp=None) is None:
                batch.close()
                deliveries.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, headers=headers, timestamp=None)
                rows_in_batch = 0
            rows_in_batch += 1
        if not rows_in_batch:
            return None
        batch.close()
        deliveries.append(await producer.send_batch(batch, topic, partition=partition))
        placed = await asyncio.gather(*deliveries)
        return int(placed[-1].offset) + rows_in_batch - 1


class Transport(driver.Transport):
    """Makes the consumer, producer and conductor of a worker that reads chunks."""

    Consumer = ChunkConsumer
    Conductor = ChunkConductor
    Producer = ChunkProducer


TRANSPORTS.aliases[SCHEME] = "streams.kafka.faust_driver:Transport"
