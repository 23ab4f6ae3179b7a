"""Measures ``streams audit`` on a million actions.

``python -m tests.commands.audit.million [COUNT]``; it is not a test.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from typing import Any

import click
from aiokafka import AIOKafkaProducer

from streams.sandbox.kafka import EmbeddedKafka
from tests.commands.topics import Topics
from tests.integration.topics import action, keyed


class _Batches:
    """Sends records in whole batches, which takes a fraction of what sending them one by one takes."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self._filling: dict[int, Any] = {}
        self._sent: list[Any] = []

    async def add(self, partition: int, key: bytes, value: bytes, headers: Any = None) -> None:
        batch = self._filling.get(partition)
        if batch is None or batch.append(timestamp=None, key=key, value=value, headers=headers or []) is None:
            await self._send(partition)
            batch = self._filling[partition] = self._producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers or [])

    async def _send(self, partition: int) -> None:
        if (batch := self._filling.pop(partition, None)) is not None:
            batch.close()
            self._sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))

    async def finish(self) -> None:
        for partition in list(self._filling):
            await self._send(partition)
        for each in self._sent:
            await each


async def fill(topics: Topics, count: int) -> None:
    """Write actions and their emails, out of order as lookups leave them, an eighth of them re-keyed."""
    await topics.create()
    producer = AIOKafkaProducer(bootstrap_servers=topics.servers, max_batch_size=500_000)
    await producer.start()
    actions, emails = (_Batches(producer, topic) for topic in (topics.names.actions, topics.names.emails))
    pending: list[tuple[int, bytes, bytes, Any]] = []
    dice = random.Random(1)
    for number in range(count):
        partition, offset = number % topics.partitions, number // topics.partitions
        key, value = keyed(action(number, comment="x" * 300))
        await actions.add(partition, key, value)
        key, value, headers = topics.email(number, (partition, offset))
        pending.append(
            (partition if number % 8 else (partition + 1) % topics.partitions, key, value, headers)
        )
        if len(pending) > 2_000:
            at = dice.randrange(len(pending))
            pending[at], pending[-1] = pending[-1], pending[at]
            await emails.add(*pending.pop())
    for each in pending:
        await emails.add(*each)
    await actions.finish()
    await emails.finish()
    await producer.stop()
    await topics.settle_all()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with EmbeddedKafka() as kafka:
        topics = Topics(kafka.bootstrap_servers, "million", partitions=8)
        started = time.monotonic()
        asyncio.run(fill(topics, count))
        click.echo(f"{count:,} actions and emails written in {time.monotonic() - started:.0f} s")
        started = time.monotonic()
        command = [sys.executable, "-m", "streams", "audit", *sys.argv[2:]]
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **topics.environ})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        click.echo(
            f"exit code {os.waitstatus_to_exitcode(status)}, {seconds:.1f} s, "
            f"{usage.ru_utime + usage.ru_stime:.1f} s CPU, {usage.ru_maxrss / 1024:.0f} MB resident at most"
        )


if __name__ == "__main__":
    main()
