"""Measures ``streams audit``, or another command, on a million actions.

``python -m tests.commands.audit.million [COUNT [COMMAND...]]``, as in ``1000000 trace 7001``; it is no test.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from typing import Any

import click

from streams.sandbox.kafka import EmbeddedKafka
from tests.commands.topics import Topics
from tests.integration.topics import action, keyed, producing


async def fill(topics: Topics, count: int) -> None:
    """Write actions and their emails, out of order as lookups leave them, an eighth of them re-keyed."""
    await topics.create()
    waiting: list[tuple[int, bytes, bytes, Any]] = []
    dice = random.Random(1)
    async with producing(topics.servers) as producer:

        async def write_email(partition: int, key: bytes, value: bytes, headers: Any) -> None:
            await producer.send(topics.names.emails, value, key=key, partition=partition, headers=headers)

        for number in range(count):
            partition, offset = number % topics.partitions, number // topics.partitions
            key, value = keyed(action(number, comment="x" * 300))
            await producer.send(topics.names.actions, value, key=key, partition=partition)
            key, value, headers = topics.email(number, (partition, offset))
            moved = partition if number % 8 else (partition + 1) % topics.partitions
            waiting.append((moved, key, value, headers))
            if len(waiting) > 2_000:
                at = dice.randrange(len(waiting))
                waiting[at], waiting[-1] = waiting[-1], waiting[at]
                await write_email(*waiting.pop())
        for each in waiting:
            await write_email(*each)
    await topics.settle_all()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with EmbeddedKafka() as kafka:
        topics = Topics(kafka.bootstrap_servers, "million", partitions=8)
        started = time.monotonic()
        asyncio.run(fill(topics, count))
        click.echo(f"{count:,} actions and emails written in {time.monotonic() - started:.0f} s")
        started = time.monotonic()
        command = [sys.executable, "-m", "streams", *(sys.argv[2:] or ["audit"])]
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **topics.environ})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        click.echo(
            f"exit code {os.waitstatus_to_exitcode(status)}, {seconds:.1f} s, "
            f"{usage.ru_utime + usage.ru_stime:.1f} s CPU, {usage.ru_maxrss / 1024:.0f} MB resident at most"
        )


if __name__ == "__main__":
    main()
