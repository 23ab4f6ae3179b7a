"""Writes records exactly once by hand: one ``transactional.id``, one transaction at a time.

For commands that a person runs. There is one way out of every failure: say so, and be run again, which opens
a new epoch and looks again at what is there.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from streams.commands.installation import Described, Installation, NotAnswered, require_rights
from streams.delivery.batches import BATCH_BYTES, Batch, fill_batches
from streams.delivery.transaction import Outgoing, RecordTooLarge
from streams.kafka.acls import Acl

_TIMEOUT = 60.0  # seconds
_STOP_WITHIN = 5.0  # seconds


class NotWritten(NotAnswered):
    """A transaction failed, or nobody knows how it ended. One sentence; running the command again is safe."""


class Commit(NamedTuple):
    """Offsets of a consumer group that become lasting together with the records."""

    group: str
    offsets: Mapping[TopicPartition, OffsetAndMetadata]


class Transactions:
    """Writes under one transactional.id. `open` fences whoever had it before."""

    def __init__(self, installation: Installation, described: Described, transactional_id: str) -> None:
        """Describe it; nothing is connected before `open`."""
        self._limits = {topic: described.max_message_bytes(topic) for topic in described.partitions}
        self._producer = AIOKafkaProducer(
            **installation.connection,
            transactional_id=transactional_id,
            transaction_timeout_ms=int(_TIMEOUT * 1000),
            max_batch_size=min([BATCH_BYTES, *self._limits.values()]),
            max_request_size=64 << 20,  # bytes; the topics' own limits decide
        )

    async def open(self) -> None:
        """Take a new epoch. Raises KafkaError."""
        async with asyncio.timeout(_TIMEOUT):
            await self._producer.start()

    async def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_STOP_WITHIN):
                await self._producer.stop()

    def fits(self, record: Outgoing) -> bool:
        """Whether its topic has room for a record (``max.message.bytes``)."""
        try:
            self._batches([record])
        except RecordTooLarge:
            return False
        return True

    async def write(self, records: Iterable[Outgoing], commit: Commit | None = None) -> None:
        """Write `records` (each with its partition, each of them `fits`) and `commit`, all or nothing.

        Raises:
            NotWritten: the transaction failed, or its end is unknown.
        """
        try:
            async with asyncio.timeout(_TIMEOUT), self._producer.transaction():
                sent = []
                for topic, partition, builder, _ in self._batches(records):
                    builder.close()
                    sent.append(await self._producer.send_batch(builder, topic, partition=partition))
                    sent[-1].add_done_callback(_looked_at)
                await asyncio.gather(*sent)
                if commit is not None:
                    await self._producer.send_offsets_to_transaction(commit.offsets, commit.group)
        except ProducerFenced:
            raise NotWritten("somebody else does the same at the same time: run it again to see") from None
        except (KafkaError, TimeoutError) as error:
            # The class only: a client's own text may quote a record.
            raise NotWritten(
                f"a transaction failed ({type(error).__name__}): run it again, nothing is written twice"
            ) from None

    def _batches(self, records: Iterable[Outgoing]) -> list[Batch]:
        return fill_batches(self._producer, records, None, self._limits)


@contextlib.asynccontextmanager
async def opened(
    installation: Installation, described: Described, prefix: str, partitions: Iterable[int]
) -> AsyncIterator[dict[int, Transactions]]:
    """Give an open writer for each partition, whose transactional.id is `prefix`, a hyphen and its number.

    Raises:
        NotAnswered: the brokers do not allow one of them.
        KafkaError: one of them cannot be opened.
    """
    ids = {number: f"{prefix}-{number}" for number in sorted(set(partitions))}
    needed = [Acl("transactionalId", each, "literal", "Write", "written once") for each in ids.values()]
    await require_rights(installation, needed)
    writers = {}
    async with contextlib.AsyncExitStack() as stack:
        for number, transactional_id in ids.items():
            writers[number] = Transactions(installation, described, transactional_id)
            stack.push_async_callback(writers[number].close)
            await writers[number].open()
        yield writers


def _looked_at(sent: asyncio.Future[Any]) -> None:
    """Take a batch's failure as seen: the first one ends the transaction, and the others say the same."""
    if not sent.cancelled():
        sent.exception()
