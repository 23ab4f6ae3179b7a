"""The command ``streams start-at``: a person's decision where a partition goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streams.commands.command_line import WrongUse, check_place, settings_in_force

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from streams.commands.installation import Installation


@click.command("start-at")
@click.argument("topic")
@click.argument("partition", type=click.IntRange(0))
@click.argument("where", metavar="earliest|latest|OFFSET")
def start_at(topic: str, partition: int, where: str) -> None:
    """Say where a partition goes on that waits for a decision.

    TOPIC is that of the actions, or of the re-keyed actions. /readyz and `streams doctor` name the partitions
    that wait: their committed offset is missing, or beyond the end of the log. Of others nothing is changed.
    The offset is committed with the rights of a worker; workers that run see it within seconds.

    What lies before the offset gets no email. What lies behind it gets one, also if it got one before. Where
    a log was cut, or its topic was made again, a new epoch begins: no email has an id that was used before.

    Exit codes: 0 committed, 2 wrong options or settings, or the partition does not wait, 3 Kafka does not
    answer, or the topic is missing.
    """
    from aiokafka import TopicPartition

    from streams.commands.group_commit import check_topic
    from streams.commands.installation import answered, installation_of

    check_place(where, "earliest", "latest")
    installation = installation_of(settings_in_force())
    check_topic(installation, topic)
    click.echo(answered(_commit(installation, TopicPartition(topic, partition), where)))


async def _commit(installation: Installation, topic_partition: TopicPartition, where: str) -> str:
    """Commit where to go on; return a sentence about it.

    Raises:
        WrongUse: the partition does not wait, or its log has no such offset.
        PartitionMissing, NotAnswered: it does not exist, or nothing could be committed.
        KafkaError: the cluster cannot be asked.
    """
    from aiokafka import TopicPartition

    from streams.commands.group_commit import commit
    from streams.commands.installation import describe, group_offsets, starting_positions
    from streams.delivery.decisions import acceptance_id, accepted_in, with_accepted
    from streams.delivery.epochs import epochs_of, marked
    from streams.delivery.starting import OperatorNeeded

    topic, partition = topic_partition
    names = installation.names
    described = await describe(installation)
    described.require(topic, names.emails, names.actions, names.rekeyed)
    described.require_partitions(topic, [partition])
    async with group_offsets(installation) as offsets:
        starting = starting_positions(installation, offsets)
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
        position = await starting.decided(topic_partition, committed, offset)
        epochs, other = epochs_of(position), starting.other(topic_partition)
        if topic == names.actions and (await offsets.committed(other)).offset is not None:
            # This one first: should the second one fail, the partition still waits for this decision.
            # Should that one's log have been cut, too, this decides nothing about it.
            await commit(
                installation,
                offsets,
                other,
                lambda found: marked(found, epochs._replace(cut=epochs_of(found).cut)),
            )
        kept_for = TopicPartition(names.dead_letters, partition)
        if accepted_in(await offsets.committed(kept_for)).get(topic, 0) > offset:
            # What was accepted are dead letters of before, not those that these offsets may come to now.
            await commit(
                installation,
                offsets,
                kept_for,
                lambda found: found._replace(metadata=with_accepted(found, topic, offset)),
                acceptance_id(installation.group, topic_partition),
            )
        await commit(installation, offsets, topic_partition, lambda _: position)
    epoch = f", in epoch {epochs.epoch_of(offset)}" if epochs.current else ""
    return f"{topic}/{partition} goes on at offset {offset:,}{epoch}; {end - offset:,} offsets follow"
