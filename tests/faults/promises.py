"""What must hold after any fault, seen by clients that are not the worker's."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import orjson
from aiokafka.partitioner import DefaultPartitioner

from streams.sandbox.worker import Installation, WorkerProcess
from tests.chaos.reading import open_transactions
from tests.integration.steps import ready
from tests.integration.topics import action, keyed, producing, read_count


def reason_of(worker: WorkerProcess) -> str:
    """Return why a worker ended by itself: the last line of its log says it."""
    line = orjson.loads(worker.tail(1))
    assert line["event"] == "crashed", worker.tail(40)
    return str(line["message"])


async def act(
    place: Installation, numbers: Iterable[int], partition: int | None = None, supporter: int | None = None
) -> list[int]:
    """Write actions with these numbers; return the numbers.

    Of `supporter`, else of somebody who belongs into `partition`, else of everybody's own.
    """
    written = list(numbers)
    if partition is not None and supporter is None:
        supporter = supporter_in(partition, int(place.settings["TOPIC_PARTITIONS"]))
    async with producing(place.bootstrap_servers, enable_idempotence=True) as producer:
        for number in written:
            key, value = keyed(action(number, supporter=supporter))
            await producer.send_and_wait(place.names.actions, value, key=key)
    return written


async def mailing(place: Installation, numbers: Iterable[int]) -> tuple[WorkerProcess, list[int]]:
    """Start a worker that has mailed actions with these numbers; return it and the numbers."""
    worker = await ready(place)
    sent = await act(place, numbers)
    await assert_kept(place, sent)
    return worker, sent


def supporter_in(partition: int, partitions: int, nth: int = 0) -> int:
    """Return the number of the nth supporter whose key the default partitioner puts into `partition`."""
    everywhere = list(range(partitions))
    choose = DefaultPartitioner()
    found = (
        number
        for number in range(1_000, 100_000)
        if choose(keyed(action(number))[0], everywhere, everywhere) == partition
    )
    return next(islice(found, nth, None))


async def assert_kept(place: Installation, numbers: Iterable[int], seconds: float = 40) -> list[Any]:
    """Every action has its one email for a read_committed reader, and no transaction is left open."""
    expected = Counter(numbers)
    records = await read_count(place.bootstrap_servers, place.names.emails, expected.total(), seconds=seconds)
    found = Counter(orjson.loads(record.value)["actionId"] for record in records)
    lost, doubled = expected - found, found - expected
    assert lost == doubled == Counter(), (
        f"lost {dict(lost)}, doubled {dict(doubled)}\n{place.workers[-1].tail(40)}"
    )
    await assert_no_transaction_open(place)
    return records


async def assert_no_transaction_open(place: Installation, seconds: float = 8) -> None:
    """On both output topics the last stable offset reaches the high watermark."""
    until = time.monotonic() + seconds
    partitions = int(place.settings["TOPIC_PARTITIONS"])
    outputs = (place.names.emails, place.names.dead_letters)
    while found := await open_transactions(place.bootstrap_servers, outputs, partitions):
        assert time.monotonic() < until, f"open transactions: {found}"
        await asyncio.sleep(0.2)
