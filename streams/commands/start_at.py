"""The command ``streams start-at``: a person's decision where a partition goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streams.commands.command_line import WrongUse, settings_in_force

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from streams.commands.installation import Installation

#: Attempts to commit, and seconds between two: a worker that waits for the decision may be first each time.
_ATTEMPTS, _PAUSE = 20, 0.3


@click.command("start-at")
@click.argument("topic")
@click.argument("partition", type=click.IntRange(0))
@click.argument("where", metavar="earliest|latest|OFFSET")
def start_at(topic: str, partition: int, where: str) -> None:
    """Say where a partition goes on that waits for a decision.

    TOPIC is that of the actions, or of the re-keyed actions. /readyz and `streams doctor` name the partitions
    that wait: their committed offset is missing, or beyond the end of the log. Of others nothing is changed.
    The offset is committed with the rights of a worker; workers that run see it within seconds.

    What lies before the offset gets no email. What lies behind it gets one, also if it got one before.

    Exit codes: 0 committed, 2 wrong options or settings, or the partition does not wait, 3 Kafka does not
    answer, or the topic is missing.
    """
    from aiokafka import TopicPartition

    from streams.commands.installation import answered, installation_of

    if not (where in ("earliest", "latest") or (where.isascii() and where.isdigit() and len(where) < 19)):
        raise click.UsageError(f"{where!r} is neither earliest nor latest nor an offset")
    installation = installation_of(settings_in_force())
    if topic not in (installation.names.actions, installation.names.rekeyed):
        raise click.UsageError(
            f"{topic} is not read from offsets of a lane: {installation.names.actions} and"
            f" {installation.names.rekeyed} are"
        )
    click.echo(answered(_commit(installation, TopicPartition(topic, partition), where)))


async def _commit(installation: Installation, topic_partition: TopicPartition, where: str) -> str:
    """Commit where to go on; return a sentence about it.

    Raises:
        WrongUse: the partition does not wait, or its log has no such offset.
        PartitionMissing, NotAnswered: it does not exist, or nothing could be committed.
        KafkaError: the cluster cannot be asked.
    """
    import asyncio

    from streams.commands.installation import NotAnswered, describe
    from streams.delivery.kafka_transaction import KafkaTransactions
    from streams.delivery.offsets import Offsets
    from streams.delivery.starting import OperatorNeeded, StartingPositions
    from streams.delivery.topic_limits import TopicLimits
    from streams.delivery.transaction import TransactionFailed
    from streams.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES

    topic, partition = topic_partition
    names = installation.names
    described = await describe(installation)
    described.require(topic, names.emails, names.actions, names.rekeyed)
    described.require_partitions(topic, [partition])
    offsets = Offsets(installation.group, installation.connection)
    transactions = KafkaTransactions(
        topic_partition,
        group=installation.group,
        connection=installation.connection,
        committed=offsets.committed,
        limits=TopicLimits({names.emails: DEFAULT_MAX_MESSAGE_BYTES}),
        transaction_timeout=installation.transaction_timeout,
    )
    try:
        await offsets.start()
        starting = StartingPositions(offsets, (names.actions, names.rekeyed), names.emails)
        committed = await offsets.committed(topic_partition)
        try:
            await starting.start(topic_partition, committed, described.partitions[topic])
        except OperatorNeeded:
            pass
        else:
            raise WrongUse(f"{topic}/{partition} does not wait for a decision, so nothing was changed")
        first, end = (await offsets.extents([topic_partition]))[topic_partition]
        offset = first if where == "earliest" else end if where == "latest" else int(where)
        if not first <= offset <= end:
            raise WrongUse(f"the log of {topic}/{partition} goes from {first} to {end}: it has no {offset}")
        for _ in range(_ATTEMPTS):
            try:
                await transactions.open()
                await transactions.commit([], offset, "")
            except TransactionFailed as failure:
                why = str(failure)
                await asyncio.sleep(_PAUSE)
            else:
                return f"{topic}/{partition} goes on at offset {offset:,}; {end - offset:,} offsets follow"
        raise NotAnswered(f"the offset cannot be committed ({why})")
    finally:
        await transactions.close()
        await offsets.stop()
