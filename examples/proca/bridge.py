"""From a queue of RabbitMQ to a topic of Kafka, at least once and in order.

A message is acknowledged after Kafka has its record. Whatever ends a connection, on either side, ends both:
RabbitMQ then delivers again what was not acknowledged, so nothing is lost, and the last messages may be in
Kafka twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aio_pika
import orjson
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from examples.kafka import kafka_options
from examples.proca.routes import Route
from examples.proca.settings import Settings
from examples.proca.statuses import Skipped
from examples.proca.watch import Watch
from streams.commands.feeder import FeedError, abandon, largest_message

log = logging.getLogger("bridge")

PREFETCH = 1_000  # messages in hand
LARGEST_BATCH = 256 << 10  # bytes
LINGER = 5  # milliseconds that a record waits for company in its batch
BEAT = 1.0  # seconds between two signs of life
LOOK_EVERY = 5.0  # seconds between two looks at the length of the queue
ANSWER_WITHIN = 15.0  # seconds that RabbitMQ has for an answer
FINISH_WITHIN = 10.0  # seconds at the end for what is in hand; what is left is delivered to the next bridge


class _Ended(Exception):
    """RabbitMQ has closed the channel or the connection."""


@dataclass(frozen=True, slots=True)
class _InHand:
    """A message that is not acknowledged, and the acknowledgement of Kafka that it waits for."""

    message: AbstractIncomingMessage
    written: asyncio.Future[Any] | None  # None: Kafka is not waited for
    since: float  # seconds since the epoch


class Bridge:
    """Consumes the queue of a route; connects again, with growing pauses, for as long as it takes."""

    def __init__(self, settings: Settings, route: Route, watch: Watch) -> None:
        """Take the parts; make it on the loop that runs it.

        Raises:
            WrongSetting: a certificate or key cannot be used.
        """
        self._settings, self._route, self._watch = settings, route, watch
        self._kafka = kafka_options(settings)
        watch.name_topic(route.topic)

    async def run(self, stop: asyncio.Event) -> None:
        """Bridge until `stop`; what is in hand is finished first, for a while."""
        beating = asyncio.create_task(self._beat())
        pause = self._settings.retry_first
        try:
            while not stop.is_set():
                try:
                    await self._session(stop)
                except Exception as error:  # what it is passes or does not: it is shown, and tried again
                    if self._watch.connected:
                        pause = self._settings.retry_first
                    self._watch.failures.labels(type(error).__name__).inc()
                    why = str(error) if isinstance(error, FeedError) else type(error).__name__
                    log.warning("connecting again in %g s: %s", pause, why)
                self._watch.connected = False
                self._watch.queue_messages = self._watch.in_hand_since = None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
                pause = min(2 * pause, self._settings.retry_longest)
        finally:
            self._watch.ending = True
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._watch.beat()
            await asyncio.sleep(BEAT)

    async def _session(self, stop: asyncio.Event) -> None:
        """Connect to both sides, and forward until `stop` or until one of them fails."""
        limit = await largest_message(self._kafka, self._route.topic, self._settings.kafka_bootstrap_servers)
        async with self._producer(limit) as producer, self._channel() as channel:
            ended = asyncio.Event()
            channel.close_callbacks.add(lambda *_: ended.set())
            queue = await self._declared(channel)
            inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            in_hand: asyncio.Queue[_InHand] = asyncio.Queue()

            async def receive(message: AbstractIncomingMessage) -> None:
                inbox.put_nowait(message)  # without waiting: so they stay in their order

            tag = await queue.consume(receive, timeout=ANSWER_WITHIN)
            self._watch.connected = True
            log.info("forwarding %s to %s", self._route.queue, self._route.topic)
            works: list[asyncio.Task[Any]] = [
                asyncio.create_task(each)
                for each in (
                    self._forward(channel, producer, inbox, in_hand),
                    self._acknowledge(in_hand),
                    self._look_at_length(channel),
                    _until(ended),
                )
            ]
            stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([*works, stopping], return_when=asyncio.FIRST_COMPLETED)
                for work in works:
                    if work.done():
                        work.result()
                await queue.cancel(tag, timeout=ANSWER_WITHIN)
                finishing = asyncio.create_task(_finished(inbox, in_hand))
                works.append(finishing)
                await asyncio.wait(works, timeout=FINISH_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for work in (*works, stopping):
                    work.cancel()
                await asyncio.gather(*works, stopping, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _producer(self, limit: int) -> AsyncIterator[Any]:
        # Records beyond the limit are refused here: the broker would refuse their whole batch, and an
        # idempotent producer cannot go on after a gap.
        producer = AIOKafkaProducer(
            **self._kafka,
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER,
            max_batch_size=min(LARGEST_BATCH, limit),
            max_request_size=limit,
            request_timeout_ms=10_000,
        )
        try:
            await producer.start()
            yield producer
        finally:
            # Without waiting for what Kafka does not take: RabbitMQ delivers it again.
            await abandon(producer)

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        connection = await aio_pika.connect(self._settings.amqp_url, timeout=ANSWER_WITHIN)
        try:
            # It confirms what is published, and tells of a message that has no queue.
            channel = await connection.channel(on_return_raises=True)
            await channel.set_qos(prefetch_count=PREFETCH)
            yield channel
        finally:
            with contextlib.suppress(Exception):  # it is closed already, or does not answer
                await asyncio.wait_for(connection.close(), ANSWER_WITHIN)

    async def _declared(self, channel: AbstractChannel) -> AbstractQueue:
        """Declare the bridge's queues, and bind the first to Proca's exchanges, which must be there."""
        await channel.declare_queue(self._route.too_large, durable=True, timeout=ANSWER_WITHIN)
        # One consumer at a time: a second bridge waits until the first has gone, so that order is kept.
        queue = await channel.declare_queue(
            self._route.queue,
            durable=True,
            arguments={"x-single-active-consumer": True},
            timeout=ANSWER_WITHIN,
        )
        for exchange, key in self._route.bindings:
            await queue.bind(exchange, key, timeout=ANSWER_WITHIN)
        return queue

    async def _forward(
        self,
        channel: AbstractChannel,
        producer: Any,
        inbox: asyncio.Queue[AbstractIncomingMessage],
        in_hand: asyncio.Queue[_InHand],
    ) -> None:
        """Hand each message to Kafka, in their order."""
        topic = self._route.topic
        while True:
            message = await inbox.get()
            since = self._watch.now()
            if self._watch.in_hand_since is None:
                self._watch.in_hand_since = since
            if message.redelivered:
                self._watch.redelivered.labels(topic).inc()
            record = self._route.record_of(message.exchange or "", message.body)
            written: asyncio.Future[Any] | None = None
            if isinstance(record, Skipped):
                self._watch.skipped.labels(topic, record.why).inc()
            else:
                try:
                    written = await producer.send(
                        topic, record.value, key=record.key, headers=kafka_headers(message.headers)
                    )
                except MessageSizeTooLargeError:
                    await self._set_aside(channel, message)
                else:
                    if record.key is None:
                        self._watch.without_key.labels(topic).inc()
            in_hand.put_nowait(_InHand(message, written, since))
            inbox.task_done()

    async def _set_aside(self, channel: AbstractChannel, message: AbstractIncomingMessage) -> None:
        """Put a message that Kafka has no room for into the bridge's own queue of such."""
        await channel.default_exchange.publish(
            aio_pika.Message(
                message.body,
                headers={
                    # Bytes are what a text that is not UTF-8 is read as, and only a bytearray can be written.
                    **{
                        name: bytearray(value) if isinstance(value, bytes) else value
                        for name, value in message.headers.items()
                    },
                    "bridge-exchange": message.exchange or "",
                },
                content_type=message.content_type,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            ),
            self._route.too_large,
            timeout=ANSWER_WITHIN,
        )
        self._watch.too_large.labels(self._route.topic).inc()
        log.error("a message of %d bytes is in %s", len(message.body), self._route.too_large)

    async def _acknowledge(self, in_hand: asyncio.Queue[_InHand]) -> None:
        """Acknowledge what Kafka has, in their order, many with one word."""
        following: _InHand | None = None
        while True:
            first = following or await in_hand.get()
            following = None
            self._watch.in_hand_since = first.since
            if first.written is not None:
                await first.written
            settled = [first]
            while following is None and not in_hand.empty():
                following = in_hand.get_nowait()
                if _is_written(following):
                    settled.append(following)
                    following = None
            await settled[-1].message.ack(multiple=True)
            for each in settled:
                if each.written is not None:
                    self._watch.forwarded.labels(self._route.topic).inc()
                in_hand.task_done()
            self._watch.in_hand_since = None if following is None else following.since

    async def _look_at_length(self, channel: AbstractChannel) -> None:
        while True:
            queue = await channel.declare_queue(self._route.queue, passive=True, timeout=ANSWER_WITHIN)
            self._watch.queue_messages = queue.declaration_result.message_count
            await asyncio.sleep(LOOK_EVERY)


def kafka_headers(headers: Any) -> list[tuple[str, bytes | None]]:
    """The headers of a message as those of a record: texts as UTF-8, bytes as they are, the rest as JSON."""

    def encoded(value: Any) -> bytes | None:
        match value:
            case None | bytes():
                return value
            case bytearray():
                return bytes(value)
            case str():
                return value.encode(errors="surrogatepass")
            case _:
                return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)

    return [(name, encoded(value)) for name, value in (headers or {}).items()]


def _is_written(each: _InHand) -> bool:
    """Whether it can be acknowledged without waiting, and without an error."""
    written = each.written
    return written is None or (written.done() and not written.cancelled() and written.exception() is None)


async def _until(ended: asyncio.Event) -> None:
    await ended.wait()
    raise _Ended


async def _finished(inbox: asyncio.Queue[Any], in_hand: asyncio.Queue[Any]) -> None:
    await inbox.join()
    await in_hand.join()
