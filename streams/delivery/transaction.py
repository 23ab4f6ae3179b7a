"""The port through which a lane makes its work lasting: open, commit, close.

One implementation speaks to Kafka (:mod:`streams.delivery.kafka_transaction`); tests use a fake of a few
lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from aiokafka import TopicPartition

Headers = list[tuple[str, bytes]]
#: As which a worker takes part in its group: generation, member id, ``group.instance.id``.
Membership = tuple[int, str, str | None]


class Outgoing(NamedTuple):
    """One record to write."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None  # None: the same number as its source's


class Position(NamedTuple):
    """What the group has committed for a partition; an offset of None where nothing was ever committed."""

    offset: int | None
    metadata: str | None


@dataclass(slots=True, eq=False)
class Part:
    """What one partition has in a transaction of several.

    Attributes:
        place: the input partition whose offset is committed.
        records: to be written.
        offset: to be committed.
        metadata: with it, at most 4,096 bytes.
        withdrawn: its lane no longer waits for the result: it must not be committed any more.
    """

    place: TopicPartition
    records: Sequence[Outgoing]
    offset: int
    metadata: str
    withdrawn: bool = False


class TransactionFailed(Exception):
    """A transaction failed, or nobody knows how it ended. Open the transactions again, compare, go on.

    The text names the failure's class, or says in a sentence of ours what is wrong: the message of a broker
    or of the client library may quote a record.
    """

    def __init__(self, kind: str, sentence: str | None = None) -> None:
        super().__init__(sentence or kind)
        self.kind = kind  # the failure's class, by which it is counted


class TopicFault(TransactionFailed):
    """A topic takes nothing at present: its limit was lowered, a right was taken away, or it is not there.

    It is no fault of the records: they wait until the topic is mended.
    """


class Fenced(TransactionFailed):
    """Another writer took over this partition's transactional.id: the partition has most likely moved."""


class Denied(Exception):
    """The cluster refuses by its access rules. Trying again does not help: a person must act."""


class BatchRefused(TransactionFailed):
    """The broker refused a batch for what is in it. Open again at once: the next commit sends another one."""


class NotOpen(TransactionFailed):
    """The transactions were closed when a record was refused. Open again at once: it has another form now."""

    def __init__(self) -> None:
        super().__init__("NotOpen")


class NotTogether(TransactionFailed):
    """A transaction of several partitions failed, or nobody knows how it ended. Open again at once: each
    partition goes on by itself.
    """

    def __init__(self) -> None:
        super().__init__("NotTogether")


class NotBegun(Exception):
    """Several partitions cannot commit together now. Nothing was sent: each commits alone."""


class RecordRefused(Exception):
    """A record can never be written as it is. Nothing of its transaction stays."""

    def __init__(self, index: int, why: str = "is refused by the broker") -> None:
        super().__init__(f"record {index} of this transaction {why}")
        self.index = index  # within the records given to commit


class RecordTooLarge(RecordRefused):
    """A record exceeds what its topic takes (``max.message.bytes``). Nothing of its transaction stays."""

    def __init__(self, index: int, limit: int, size: int) -> None:
        super().__init__(index, f"has {size} bytes; its topic took {limit} when it was looked at")
        self.limit, self.size = limit, size  # bytes, of a batch of one record


class TransactionPort(Protocol):
    """Writes records and the group's offset of one partition in one transaction."""

    async def open(self) -> Position:
        """Fence every predecessor, end what it left open, and return what is committed.

        May be called again at any time: it is also the way out of every failure, since the new epoch and the
        wait for what is undecided make sure that nothing of an earlier transaction can still take effect.

        Raises:
            TransactionFailed: the cluster cannot be reached; try again later.
            Denied: the cluster refuses for good.
        """
        ...

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        """Write `records` and commit `offset` with `metadata` (≤ 4,096 bytes), all or nothing.

        Raises:
            RecordRefused: one record can never be written as it is; nothing was.
            Fenced: somebody else has the partition.
            TransactionFailed: it failed, or its result is unknown; `open` tells which.
            Denied: the cluster refuses for good.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection, within seconds, ending what is open."""
        ...


@runtime_checkable
class SharedPort(TransactionPort, Protocol):
    """Transactions that can have what other partitions of this worker have ready.

    The transactional.id of one partition does not fence the predecessors of another one. So all offsets, of
    one partition or of several, go with the worker's membership of the group, and the coordinator refuses
    them once the group has a newer generation (KIP-447). Whoever opens a partition's transactions waits until
    no transaction with an offset of it is undecided.
    """

    @property
    def topic_partition(self) -> TopicPartition:
        """The input partition whose offsets are committed."""
        ...

    @property
    def membership(self) -> Membership | None:
        """As which it may commit together with partitions that have the same now; None: it may not."""
        ...

    async def commit_together(self, parts: Sequence[Part]) -> None:
        """Write and commit these `parts`, one of which is its own, all or nothing.

        It commits only while no part is withdrawn. After an error each partition opens its transactions
        again, and finds there how it ended.

        Raises:
            NotBegun: they cannot be committed together, and nothing was sent.
            NotTogether: one of them was refused, or withdrawn, or they took too long.
            Fenced, TransactionFailed, Denied: as `commit`.
        """
        ...

    def go_alone(self) -> None:
        """Share no transaction for a while: what has failed together may fail again."""
        ...
