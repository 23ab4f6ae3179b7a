"""From the topic to the server: each partition in its order, its offset committed after the send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)

from examples.kafka import kafka_options
from examples.mailer.alive import Pulse
from examples.mailer.letters import Letters, Unreadable
from examples.mailer.sent import Sent
from examples.mailer.settings import Settings
from examples.mailer.smtp import Accepted, Refused, Result, Smtp, TryAgain
from examples.mailer.watch import InHand, Watch

log = logging.getLogger("mailer")

POLL = 200  # milliseconds
LAG_EVERY = 5.0  # seconds between two looks at the ends of the partitions
LAG_WITHIN = 10.0  # seconds that Kafka has for its answer
LARGEST_REQUEST = 64 << 20  # bytes; the limit of the dead letters' topic decides
SHORTENED_TO = 64 << 10  # bytes of the value of a dead letter that its topic has no room for


class Mailer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no complete types
    """Reads with ``read_committed``. A partition whose letter has to wait is paused; others go on.

    Polling goes on too, so that a server that is down for an hour costs no ``max.poll.interval.ms``.
    """

    def __init__(self, settings: Settings, letters: Letters, smtp: Smtp, sent: Sent, watch: Watch) -> None:
        """Take the parts; make it on the loop that runs it.

        Raises:
            WrongSetting: a certificate or key cannot be used.
        """
        self._settings, self._letters, self._smtp, self._sent = settings, letters, smtp, sent
        self._watch = watch
        self._pulse = Pulse(settings.alive_file)
        self._connection = kafka_options(settings)
        self._consumer: Any = AIOKafkaConsumer(
            **self._connection,
            group_id=settings.group_id,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self._producer = self._idempotent_producer()
        self._burying = asyncio.Lock()  # one after the other, so that a producer can be replaced
        self._working: dict[TopicPartition, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Mail until `stop`; the letter in hand is finished first.

        Raises:
            KafkaError: Kafka cannot be reached at the start, or a dead letter not be written.
        """
        await self._producer.start()
        try:
            await self._make_dead_letters_topic()
            self._consumer.subscribe([self._settings.topic], listener=self)
            async with self._consumer:
                log.info("reading %s as group %s", self._settings.topic, self._settings.group_id)
                lags = asyncio.create_task(self._look_at_lags())
                try:
                    while not stop.is_set():
                        self._pulse.beat()
                        self._watch.beat()
                        self._resume_who_is_done()
                        for place, records in (await self._consumer.getmany(timeout_ms=POLL)).items():
                            self._consumer.pause(place)
                            leave = asyncio.Event()
                            task = asyncio.create_task(self._mail(place, records[:], leave))
                            self._working[place] = (leave, task)
                finally:
                    self._watch.ending = True
                    lags.cancel()
                    await self._leave(list(self._working))
        finally:
            await self._producer.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish the letters in hand before somebody else gets their partitions."""
        await self._leave(list(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Say so."""
        log.info("partitions: %s", ", ".join(str(place.partition) for place in sorted(assigned)) or "none")

    def _resume_who_is_done(self) -> None:
        for place in [place for place, (_, task) in self._working.items() if task.done()]:
            _, task = self._working.pop(place)
            task.result()  # what it could not cope with ends the mailer, and is read again by the next
            with suppress(IllegalStateError):  # not ours any more
                self._consumer.resume(place)

    async def _leave(self, places: Iterable[TopicPartition]) -> None:
        left = [self._working.pop(place) for place in places if place in self._working]
        for leave, _ in left:
            leave.set()
        await asyncio.gather(*(task for _, task in left))

    async def _look_at_lags(self) -> None:
        while True:
            with suppress(KafkaError, TimeoutError):  # then nothing new is known, and nothing is shown
                async with asyncio.timeout(LAG_WITHIN):
                    places = list(self._consumer.assignment())
                    ends = await self._consumer.end_offsets(places) if places else {}
                    lags = {}
                    for place in places:
                        first = self._watch.in_hand.get(place.partition)
                        begin = first.offset if first else await self._consumer.position(place)
                        lags[place.partition] = max(0, ends[place] - begin)
                    self._watch.know_lags(lags)
            await asyncio.sleep(LAG_EVERY)

    async def _mail(self, place: TopicPartition, records: list[Any], leave: asyncio.Event) -> None:
        try:
            for record in records:
                self._watch.in_hand[place.partition] = InHand(record.offset, record.timestamp / 1000)
                if leave.is_set() or not await self._settle(record, leave):
                    return
                try:
                    await self._consumer.commit({place: record.offset + 1})
                except (CommitFailedError, IllegalStateError):
                    return  # it has moved: whoever has it now begins after the last commit, and so would we
        finally:
            self._watch.in_hand.pop(place.partition, None)

    async def _settle(self, record: Any, leave: asyncio.Event) -> bool:
        """Do what is to be done with a record; False if it has to be read again."""
        where = f"{record.topic}/{record.partition}/{record.offset}"
        try:
            letter = self._letters.render(record.value)
        except Unreadable as error:
            await self._bury(record, where, str(error))
            return True
        if letter.id in self._sent:
            log.info("%s was sent before: %s", where, letter.id)
            return True
        wait = self._settings.retry_first
        while True:
            result: Result = await self._smtp.send(letter)
            match result:
                case Accepted():
                    self._sent.add(letter.id)
                    self._watch.sent.labels(letter.variant).inc()
                    log.info("%s sent: %s, %s, %s", where, letter.id, letter.variant, letter.locale)
                    return True
                case Refused(why):
                    await self._bury(record, where, why)
                    return True
                case TryAgain(why):
                    self._watch.delayed.labels(why).inc()
                    log.warning("%s has to wait %g s: %s", where, wait, why)
            with suppress(TimeoutError):
                await asyncio.wait_for(leave.wait(), wait)
                return False
            wait = min(2 * wait, self._settings.retry_longest)

    async def _bury(self, record: Any, where: str, why: str) -> None:
        """Write a dead letter: the record as it is, and from where and why (named as Kafka Streams does).

        Where the topic has no room for all of it, most of the value is left out, then the whole record.
        """
        reasons = {
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            "exception": why,
        }
        ours = [(f"__streams.errors.{name}", text.encode()) for name, text in reasons.items()]
        shortened = [*ours, ("shortened-from", b"%d" % len(record.value or b""))]
        topic = self._settings.dead_letters_topic
        forms = [
            (record.key, record.value, [*record.headers, *ours]),
            (record.key, (record.value or b"")[:SHORTENED_TO], [*record.headers, *shortened]),
            (where.encode(), b"", shortened),
        ]
        async with self._burying:
            while forms:
                key, value, headers = forms.pop(0)
                try:
                    await self._producer.send_and_wait(topic, value, key=key, headers=headers)
                    break
                except MessageSizeTooLargeError:
                    if not forms:
                        raise
                    await self._replace_producer()
        self._watch.failed.labels(why).inc()
        log.error("%s is a dead letter in %s: %s", where, topic, why)

    def _idempotent_producer(self) -> Any:
        """Make the producer of the dead letters: an answer that is lost leaves none of them twice."""
        return AIOKafkaProducer(**self._connection, enable_idempotence=True, max_request_size=LARGEST_REQUEST)

    async def _replace_producer(self) -> None:
        """Go on with a new producer: the broker refused a record, and this one's sequence has a gap."""
        await self._producer.stop()
        self._producer = self._idempotent_producer()
        await self._producer.start()

    async def _make_dead_letters_topic(self) -> None:
        admin: Any = AIOKafkaAdminClient(**self._connection)
        await admin.start()
        try:
            # Asked first: who may write to it may not be allowed to make it.
            if self._settings.dead_letters_topic in await admin.list_topics():
                return
            answer = await admin.create_topics([NewTopic(self._settings.dead_letters_topic, 1, -1, {})])
            for error in answer.topic_errors:
                if error[1] and for_code(error[1]) is not TopicAlreadyExistsError:
                    raise for_code(error[1])(f"{self._settings.dead_letters_topic} cannot be created")
        finally:
            await admin.close()
