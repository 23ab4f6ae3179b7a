"""Puts lines on a topic, each under its key, and accounts for every one of them.

The partition follows from the key as Java's default partitioner has it (murmur2), so that an action and the
status of the same supporter meet in one partition. What a line becomes is decided in ``keyed_lines``.
"""

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.commands.feed_report import FeedReport
from streams.commands.installation import describe_topics
from streams.commands.keyed_lines import Message, action_message, status_message
from streams.commands.lines import LINE_LIMIT, Blocks, blocks_of, paced
from streams.kafka.connection_check import no_access
from streams.messages.keys import partition_of

LINGER = 0.02  # seconds that a line waits for company in its batch
BATCH_BYTES = 256 * 1024
BATCHES_IN_FLIGHT = 64  # with BATCH_BYTES this bounds memory to about 16 MiB
ANSWER_WITHIN = 15.0  # seconds for Kafka to answer at the start
STALLED_AFTER = 30.0  # seconds without one acknowledged batch


class FeedError(Exception):
    """The feed cannot go on. The text is one sentence for a person and quotes no line."""


async def feed_actions(
    connection: Mapping[str, Any],
    topic: str,
    lines: AsyncIterable[bytes] | Iterable[bytes],
    on_progress: Callable[[FeedReport], None] | None = None,
    *,
    rate: float | None = None,
    linger: float = LINGER,
) -> FeedReport:
    """Send actions, one a line, and return when the brokers have acknowledged them all.

    ``connection`` is what every Kafka client is given (``streams.settings.connection.client_options``);
    ``rate`` is in lines per second, None is as fast as it goes; ``linger`` is in seconds, see ``feed``.
    Raises FeedError as ``feed`` does.
    """
    return await feed(
        connection, topic, blocks_of(lines), action_message, on_progress, rate=rate, linger=linger
    )


async def feed_statuses(
    connection: Mapping[str, Any],
    topic: str,
    lines: AsyncIterable[bytes] | Iterable[bytes],
) -> FeedReport:
    """Send supporter statuses and tombstones, one a line; otherwise as ``feed_actions``."""
    return await feed(connection, topic, blocks_of(lines), status_message)


async def feed(
    connection: Mapping[str, Any],
    topic: str,
    blocks: Blocks,
    to_message: Callable[[bytes], Message],
    on_progress: Callable[[FeedReport], None] | None = None,
    *,
    rate: float | None = None,
    linger: float = LINGER,
) -> FeedReport:
    """Send every line of ``blocks`` and wait for the acknowledgements; ``on_progress`` hears of each block.

    A line waits for others of its batch at most ``linger`` seconds; with 0 it is sent with its block.
    Raises FeedError if Kafka is unreachable, falls silent or refuses a batch, or if the topic is missing.
    """
    servers = connection["bootstrap_servers"]
    where = servers if isinstance(servers, str) else ",".join(servers)
    limit = await largest_message(connection, topic, where)
    producer = AIOKafkaProducer(
        **connection,
        acks="all",
        enable_idempotence=True,
        max_batch_size=min(BATCH_BYTES, limit),
        request_timeout_ms=10_000,
    )
    try:
        await asyncio.wait_for(producer.start(), ANSWER_WITHIN)
        partitions = sorted(await producer.partitions_for(topic))
    except (KafkaError, OSError, TimeoutError) as error:
        await abandon(producer)
        raise await _no_answer(connection, where, error) from error
    feeder = _Feeder(producer, topic, partitions, limit, to_message, where, linger)
    try:
        report = await feeder.run(
            blocks if rate is None else paced(blocks, rate), on_progress or (lambda _: None)
        )
    except BaseException:
        await abandon(producer)
        raise
    await producer.stop()
    return report


async def largest_message(connection: Mapping[str, Any], topic: str, where: str) -> int:
    """The topic's max.message.bytes. Asking first also keeps a producer from creating a mistyped topic."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            described = await describe_topics({**connection, "request_timeout_ms": 5_000}, [topic])
    except (KafkaError, OSError, TimeoutError) as error:
        raise await _no_answer(connection, where, error) from error
    if topic not in described.partitions:
        raise FeedError(f"there is no topic {topic!r} at {where}: the worker creates it when it starts")
    return described.max_message_bytes(topic)


async def _no_answer(connection: Mapping[str, Any], where: str, error: Exception) -> FeedError:
    sentence = await no_access(connection, ANSWER_WITHIN)
    return FeedError(sentence or f"Kafka does not answer at {where} ({type(error).__name__})")


async def abandon(producer: Any) -> None:
    """Stop without waiting for what will not come: a plain stop() retries unsent batches for ever."""
    try:
        await asyncio.wait_for(producer.stop(), 1.0)
    except (TimeoutError, KafkaError):
        # Below aiokafka's public surface, as it has no close without a flush.
        if (sender := producer._sender.sender_task) is not None:
            sender.cancel()
        await producer.client.close()


class _Feeder:
    """Batches lines by partition. One coroutine sends, so lines of one key stay in their order."""

    def __init__(
        self,
        producer: Any,
        topic: str,
        partitions: list[int],
        limit: int,
        to_message: Callable[[bytes], Message],
        where: str,
        linger: float,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._limit = min(limit, LINE_LIMIT)
        self._to_message = to_message
        self._where = where
        self._linger = linger
        self._open: dict[int, Any] = {}  # partition -> batch that still takes lines
        self._first_lines: dict[int, int] = {}  # partition -> number of the first line in that batch
        self._oldest = 0.0  # when the first line since the last flush came
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._refusal: FeedError | None = None
        self._report = FeedReport(topic)
        self._started = time.monotonic()

    async def run(self, blocks: Blocks, on_progress: Callable[[FeedReport], None]) -> FeedReport:
        report = self._report
        following = asyncio.ensure_future(anext(blocks, None))
        try:
            while True:
                if not (await asyncio.wait({following}, timeout=self._linger))[0]:
                    await self._flush()  # the source pauses: what has come so far shall not wait with it
                block = await following
                if block is None:
                    break
                following = asyncio.ensure_future(anext(blocks, None))
                await self._take(block)
                if self._open and time.monotonic() - self._oldest >= self._linger:
                    await self._flush()
                report.seconds = time.monotonic() - self._started
                on_progress(report)
            await self._flush()
            while self._in_flight:
                await self._wait_for_an_answer()
        finally:
            following.cancel()
        self._check()
        report.seconds = time.monotonic() - self._started
        on_progress(report)
        return report

    async def _take(self, lines: list[bytes]) -> None:
        report = self._report
        for line in lines:
            message = report.message_of(line, self._to_message, self._limit)
            if message is None:
                continue
            if message.key is None:
                partition = self._partitions[report.without_key % len(self._partitions)]
                report.without_key += 1
            else:
                partition = self._partitions[partition_of(message.key, len(self._partitions))]
            await self._append(partition, message)

    async def _append(self, partition: int, message: Message) -> None:
        batch = self._open.get(partition)
        if batch is not None:
            if batch.append(key=message.key, value=message.value, timestamp=None) is not None:
                return
            await self._send(partition)
        batch = self._producer.create_batch()
        batch.append(key=message.key, value=message.value, timestamp=None)
        if batch.size() > self._limit:
            # Sent, it would be refused, and with it everything behind it in the partition: an idempotent
            # producer's sequence numbers allow no gap.
            self._report.without_key -= message.key is None
            self._report.refuse_too_long(self._limit)
            return
        if not self._open:
            self._oldest = time.monotonic()
        self._open[partition] = batch
        self._first_lines[partition] = self._report.lines

    async def _flush(self) -> None:
        for partition in list(self._open):
            await self._send(partition)

    async def _send(self, partition: int) -> None:
        batch = self._open.pop(partition)
        first = self._first_lines.pop(partition)
        while len(self._in_flight) >= BATCHES_IN_FLIGHT:
            await self._wait_for_an_answer()
        self._check()
        batch.close()
        count = batch.record_count()
        try:
            async with asyncio.timeout(STALLED_AFTER):
                sent = await self._producer.send_batch(batch, self._topic, partition=partition)
        except TimeoutError:
            raise self._silence() from None
        except KafkaError as error:
            raise self._refused(error, first, count) from error
        self._in_flight.add(sent)
        sent.add_done_callback(lambda done: self._answered(done, first, count))

    def _answered(self, sent: asyncio.Future[Any], first: int, count: int) -> None:
        self._in_flight.discard(sent)
        if sent.cancelled():
            return
        error = sent.exception()
        if error is None:
            self._report.sent += count
        elif self._refusal is None:
            self._refusal = self._refused(error, first, count)

    async def _wait_for_an_answer(self) -> None:
        done, _ = await asyncio.wait(
            self._in_flight, timeout=STALLED_AFTER, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise self._silence()
        self._check()

    def _check(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _refused(self, error: BaseException, first: int, count: int) -> FeedError:
        return FeedError(
            f"Kafka refused {count} lines for {self._topic!r}, the first of them line {first} "
            f"({type(error).__name__}); stopped there, with {self._report.sent} lines acknowledged"
        )

    def _silence(self) -> FeedError:
        return FeedError(
            f"Kafka at {self._where} acknowledged nothing for {STALLED_AFTER:g} s; "
            f"stopped, with {self._report.sent} lines acknowledged"
        )
