"""Transactions on Kafka: a transactional producer whose ``transactional.id`` is group, topic and partition.

Why one id per input partition: whoever opens it ends at once what its predecessor left open, also where that
one was killed, and fences it; so it is opened before the committed offset is read. Partitions of one worker
commit together in a transaction of one of them, with the worker's membership of the group (KIP-447): see
:class:`streams.delivery.transaction.SharedPort`. On clusters without version 2 of the
transaction protocol (KIP-890) a request whose answer was lost may still be on its way, and would belong to
the next transaction: whenever that may be so, a new producer, and with it a new epoch, comes first. With
version 2 the broker would refuse it; the rule is the same for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    InvalidTimestampError,
    KafkaError,
)
from aiokafka.structs import OffsetAndMetadata

from streams.delivery.batches import BATCH_BYTES, REFUSED, TOO_LARGE, Batch, fill_batches
from streams.delivery.fetched import InBatch
from streams.delivery.record_clock import RecordClock
from streams.delivery.topic_limits import TopicLimits
from streams.delivery.transaction import (
    BatchRefused,
    Membership,
    NotBegun,
    NotOpen,
    NotTogether,
    Outgoing,
    Part,
    Position,
    RecordRefused,
    RecordTooLarge,
    TransactionFailed,
)
from streams.delivery.transaction_driver import TransactionDriver
from streams.delivery.transaction_failures import named

log = logging.getLogger(__name__)

#: Seconds for a transaction of several partitions: one that cannot be written must not delay the others much.
_TOGETHER_WITHIN = 2.0
#: Commits that a partition makes alone after a failure, of its own or of a shared transaction.
_ALONE = 100
#: Of a partition that never shares a transaction.
ALWAYS = sys.maxsize

#: A producer that does not let go within this many seconds is abandoned: its successor's epoch fences it.
_STOP_WITHIN = 2.0
#: Seconds for a look at the topics after a failure.
_LOOK_WITHIN = 2.0


class KafkaTransactions:
    """Commits on Kafka (:class:`streams.delivery.transaction.TransactionPort`)."""

    def __init__(
        self,
        topic_partition: TopicPartition,
        *,
        group: str,
        connection: Mapping[str, Any],
        committed: Callable[[TopicPartition], Awaitable[Position]],
        limits: TopicLimits,
        transaction_timeout: float,
        clock: RecordClock | None = None,
        transactional_id: str | None = None,
        member: Callable[[], Membership | None] | None = None,
        alone: int = 0,
    ) -> None:
        """Describe the transactions; nothing is connected before `open`.

        Args:
            topic_partition: the input partition whose offset is committed.
            group: the consumer group, also the first part of the transactional.id.
            connection: what every client needs: bootstrap_servers, security.
            committed: reads the group's committed offset and metadata from the cluster.
            limits: of each topic that records are written to.
            transaction_timeout: seconds; longer than this no transaction stays open, here and on the broker.
            clock: of the records' timestamps, shared by all lanes; None: the machine's clock alone.
            transactional_id: None: the same on every worker, so that whoever opens it fences whoever had it.
            member: gives the worker's membership of the group, as of its last assignment, or None before the
                first one; None: no member commits, and the transactional.id alone fences.
            alone: commits that share no transaction, from the first one on.
        """
        self.topic_partition = topic_partition
        self._group = group
        self._connection = connection
        self._committed = committed
        self._member = member
        self._membership: Membership | None = None  # since it was opened
        self._limits = limits
        self._clock = RecordClock() if clock is None else clock
        self._batch_bytes = min([BATCH_BYTES, *limits.now.values()])
        self._timeout = transaction_timeout
        self.transactional_id = (
            transactional_id or f"{group}-{topic_partition.topic}-{topic_partition.partition}"
        )
        self._driver: TransactionDriver | None = None
        self._answer_lost = False
        self._alone = alone  # commits to come that are not shared
        self._topic_fault = False  # the last commit failed by one
        self._throttled = 0.0  # seconds that the broker asked this producer to wait, by a quota
        #: Where the next commit cuts a batch that the broker refused for what is in it.
        self._cuts: tuple[Outgoing, ...] = ()

    @property
    def batch_bytes(self) -> int:
        """Bytes that a batch may have."""
        return self._batch_bytes

    async def open(self) -> Position:
        """Take a new epoch, which fences every predecessor, and return what is committed. Waits for Kafka."""
        try:
            async with asyncio.timeout(self._timeout):
                driver = await self._renew()
                self._membership = None  # the cluster may speak another protocol now
                if self._member is not None and driver.takes_membership:
                    self._membership = self._member()
                    if self._membership is None:
                        raise TransactionFailed("NoMembership", "the group is rebalancing")
                if self._topic_fault:
                    await self._look()
                    self._topic_fault = False
                    self._batch_bytes = min([BATCH_BYTES, *self._limits.now.values()])
                return await self._committed(self.topic_partition)
        except Exception as exc:
            raise self._named(exc) from None

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        """Write `records` and commit `offset`, all or nothing, within the transaction timeout."""
        try:
            async with asyncio.timeout(self._timeout):
                driver = self._driver
                if driver is None:
                    raise NotOpen
                if self._answer_lost:
                    # A new epoch comes first, but not here: it would fence a successor, and nothing would
                    # tell the caller that the committed offset is no longer the one that it goes on from.
                    raise TransactionFailed("AnswerLost")
                correction = self._clock.correction()
                batches = fill_batches(
                    driver.producer,
                    records,
                    self.topic_partition.partition,
                    self._limits.now,
                    frozenset(map(id, self._cuts)),
                    correction,
                )
                await self._write(driver, batches, records, correction)
                await driver.add_offsets(
                    {self.topic_partition: OffsetAndMetadata(offset, metadata)}, self._membership
                )
                await driver.commit()
                self._cuts = ()
                self._alone = max(0, self._alone - 1)
        except RecordTooLarge as exc:
            self._cuts = ()
            raise await self._too_large(exc, records[exc.index].topic) from None
        except RecordRefused:
            self._cuts = ()
            raise
        except TimeoutError as exc:
            self.go_alone()
            # The client library asks for a topic that is not there until the time is over.
            await self._look()
            raise self._limits.missing() or self._named(exc) from None
        except Exception as exc:
            self.go_alone()
            raise self._named(exc) from None

    @property
    def membership(self) -> Membership | None:
        """As which it may commit together with partitions that have the same now; None: it may not."""
        may_share = self._driver is not None and not (self._alone or self._answer_lost or self._cuts)
        return self._membership if may_share else None

    def go_alone(self) -> None:
        """Commit alone for a while: what has failed may fail again, and shall not concern others."""
        self._alone = max(self._alone, _ALONE)

    async def commit_together(self, parts: Sequence[Part]) -> None:
        """Write and commit the parts of several partitions in a transaction of this one, all or nothing."""
        driver, correction = self._driver, self._clock.correction()
        if driver is None or self._answer_lost or any(part.withdrawn for part in parts):
            raise NotBegun
        batches: list[Batch] = []
        try:
            for part in parts:
                batches += fill_batches(
                    driver.producer, part.records, part.place.partition, self._limits.now, (), correction
                )
        except Exception:  # alone, the lane whose record it is finds out
            raise NotBegun from None
        try:
            async with asyncio.timeout(min(self._timeout, _TOGETHER_WITHIN)):
                if any(result is not None for result in await driver.write(batches)):
                    raise NotTogether  # alone, each finds out what is wrong with its own
                await driver.add_offsets(
                    {part.place: OffsetAndMetadata(part.offset, part.metadata) for part in parts},
                    self._membership,
                )
                # Its lane may have opened again by now: before these offsets were there it waits for nothing.
                if any(part.withdrawn for part in parts):
                    raise NotTogether
                await driver.commit()
                if batches:
                    self._clock.taken(correction)
        except TimeoutError:  # alone, each has more time, and finds out how large its own may be
            raise NotTogether from None
        except Exception as exc:
            raise self._named(exc) from None

    async def close(self) -> None:
        """End an open transaction and disconnect, within four seconds."""
        if self._driver is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_WITHIN):  # readers wait at an open transaction
                    await self._driver.abort()
        await self._abandon()

    async def _renew(self) -> TransactionDriver:
        await self._abandon()
        self._answer_lost, self._throttled = False, 0.0
        producer = AIOKafkaProducer(
            **self._connection,
            transactional_id=self.transactional_id,
            transaction_timeout_ms=int(self._timeout * 1000),
            max_batch_size=self._batch_bytes,
        )
        self._driver = driver = TransactionDriver(producer, self._group)
        self._watch_answers(driver)
        await driver.start()
        return driver

    def _watch_answers(self, driver: TransactionDriver) -> None:
        # A request whose answer never came is repeated. The repetition may well succeed; but then the first
        # one is perhaps still on its way to the broker.
        client = driver.producer.client
        send = client.send

        async def send_noting_loss(node_id: int, request: Any, **kwargs: Any) -> Any:
            try:
                answer = await send(node_id, request, **kwargs)
                self._throttled = max(self._throttled, getattr(answer, "throttle_time_ms", 0) / 1000)
                return answer
            except IncompatibleBrokerVersion:
                raise  # it was not sent
            except KafkaError:
                if self._driver is driver:
                    self._answer_lost = True
                raise

        client.send = send_noting_loss

    async def _abandon(self) -> None:
        driver, self._driver = self._driver, None
        if driver is None:
            return
        try:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_WITHIN):
                    await driver.producer.stop()
        finally:  # also when we are cancelled ourselves
            with contextlib.suppress(Exception):
                await driver.producer.client.close()

    async def _write(
        self,
        driver: TransactionDriver,
        batches: list[Batch],
        records: Sequence[Outgoing],
        correction: float,
    ) -> None:
        for batch, result in zip(batches, await driver.write(batches), strict=True):
            if isinstance(result, REFUSED):
                await self.close()  # the failed batch leaves a gap in the producer's sequence numbers
                raise self._refused(batch, records, result)
            if isinstance(result, InvalidTimestampError):
                await self.close()
                self._clock.refused(correction)
                raise BatchRefused(type(result).__name__)
            if result is not None:
                raise result
        if batches:
            self._clock.taken(correction)

    def _refused(self, batch: Batch, records: Sequence[Outgoing], error: BaseException) -> Exception:
        # Which record it is shows when a batch has only one.
        size, count = batch.builder.size(), batch.builder.record_count()
        written = type(records[batch.first]) is InBatch  # already; its records come one by one next time
        if isinstance(error, TOO_LARGE):
            if count == 1 and not written:
                return RecordTooLarge(batch.first, self._limits.now[batch.topic], size)
            self._batch_bytes = size // 4  # the topic's limit was lowered: it holds for all batches
            return BatchRefused("BatchTooLarge")
        if written:
            return BatchRefused(type(error).__name__)
        if count == 1:
            return RecordRefused(batch.first)
        first = records[batch.first]
        there = [
            each
            for each in records[batch.first :]
            if type(each) is not InBatch and (each.topic, each.partition) == (first.topic, first.partition)
        ]
        self._cuts = (first, there[count // 2], *there[count : count + 1])
        return BatchRefused(type(error).__name__)

    async def _too_large(self, exc: RecordTooLarge, topic: str) -> Exception:
        """Return whose fault it is: the record's, or its topic's, which may have another limit now."""
        if exc.size > exc.limit:
            await self._look()
            if exc.size <= self._limits.now[topic]:
                return TransactionFailed("TopicLimitRaised")
        fault = self._limits.fault(topic, exc.size)
        self._topic_fault = fault is not None
        return fault or exc

    async def _look(self) -> None:
        with contextlib.suppress(Exception):  # what is not known now is asked again at the next failure
            async with asyncio.timeout(_LOOK_WITHIN):
                await self._limits.look()

    def _named(self, exc: Exception) -> Exception:
        return named(exc, self.transactional_id, self._group, self._throttled)
