"""What a person decides is committed in the name of the worker's group, whether or not workers run.

The group has members, and a plain commit of somebody else is refused. A transaction's is taken: it needs the
rights of a worker, and its transactional.id fences whoever decides the same at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka import TopicPartition

from streams.commands.command_line import WrongUse
from streams.commands.installation import Installation, NotAnswered, require_rights
from streams.delivery.kafka_transaction import KafkaTransactions
from streams.delivery.offsets import Offsets
from streams.delivery.topic_limits import TopicLimits
from streams.delivery.transaction import Position, TransactionFailed
from streams.kafka.acls import Acl
from streams.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES

#: Attempts to commit, and seconds between two: a worker that waits for the decision may be first each time.
_ATTEMPTS, _PAUSE = 20, 0.3


def check_topic(installation: Installation, topic: str) -> None:
    """Raise WrongUse unless lanes read this topic."""
    names = installation.names
    if topic not in (names.actions, names.rekeyed):
        raise WrongUse(f"{topic} is not read from offsets of a lane: {names.actions} and {names.rekeyed} are")


async def commit(
    installation: Installation,
    offsets: Offsets,
    topic_partition: TopicPartition,
    decide: Callable[[Position], Position],
    transactional_id: str | None = None,
) -> None:
    """Commit for the group what `decide` makes of the position that is committed.

    Args:
        installation: whose group.
        offsets: of the group.
        topic_partition: for which an offset is committed.
        decide: is given the position as it is; called again where somebody else was first.
        transactional_id: None: that of the partition's lane, which is fenced if it is open.

    Raises:
        NotAnswered: nothing could be committed, or the brokers do not allow it.
    """
    transactions = KafkaTransactions(
        topic_partition,
        group=installation.group,
        connection=installation.connection,
        committed=offsets.decided,
        limits=TopicLimits({topic_partition.topic: DEFAULT_MAX_MESSAGE_BYTES}),
        transaction_timeout=installation.transaction_timeout,
        transactional_id=transactional_id,
    )
    await _check_rights(installation, topic_partition.topic, transactions.transactional_id)
    why = ""
    try:
        for _ in range(_ATTEMPTS):
            try:
                position = decide(await transactions.open())
                assert position.offset is not None, "a decision names an offset"
                await transactions.commit([], position.offset, position.metadata or "")
            except TransactionFailed as failure:
                why = str(failure)
                await asyncio.sleep(_PAUSE)
            else:
                return
    finally:
        await transactions.close()
    raise NotAnswered(f"the offset cannot be committed ({why})")


async def _check_rights(installation: Installation, topic: str, transactional_id: str) -> None:
    """Raise NotAnswered, with what is missing, unless this user may commit; KafkaError if nobody says."""
    why = "a person's decision"
    needed = (
        Acl("group", installation.group, "literal", "Read", why),
        Acl("topic", topic, "literal", "Read", why),
        Acl("transactionalId", transactional_id, "literal", "Write", why),
    )
    await require_rights(installation, needed)
