"""The command ``streams dead-letters accept``: a person's decision to let a partition's dead letters pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streams.commands.command_line import WrongUse, check_place, counted, settings_in_force

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from streams.commands.installation import Installation


@click.command("accept")
@click.argument("topic")
@click.argument("partition", type=click.IntRange(0))
@click.argument("where", metavar="latest|OFFSET")
def accept(topic: str, partition: int, where: str) -> None:
    """Let the actions of a partition become dead letters, however many they are.

    TOPIC is that of the actions, or of the re-keyed actions. A partition stops when more of its last actions
    are dead letters than STREAMS_DEAD_LETTER_CEILING allows, and before a batch that nobody can read. This
    accepts those between its committed offset and OFFSET; latest: all that are there now. From OFFSET on, the
    partition stops as before. A worker that has stopped sees it within seconds and goes on, without a
    restart.

    What is accepted is no problem to `streams doctor`, and neither are the partition's earlier dead letters:
    `latest` accepts those too that the group has passed already. For this, TOPIC may be that of the statuses,
    where no partition stops. Kafka keeps the decision for a week.

    It takes the rights of a worker, and Read on the dead-letter topic. The records stay in that topic, and
    `streams dead-letters retry` puts them back.

    Exit codes: 0 accepted, 2 wrong options or settings, or there is nothing before this offset, 3 Kafka does
    not answer or does not allow it, or the topic is missing.
    """
    from aiokafka import TopicPartition

    from streams.commands.group_commit import check_topic
    from streams.commands.installation import answered, installation_of

    check_place(where, "latest")
    installation = installation_of(settings_in_force())
    if topic != installation.names.statuses:
        check_topic(installation, topic)
    click.echo(answered(_accept(installation, TopicPartition(topic, partition), where)))


async def _accept(installation: Installation, topic_partition: TopicPartition, where: str) -> str:
    """Commit what is accepted; return a sentence about it.

    Raises:
        WrongUse: the partition has nothing before that offset.
        PartitionMissing, NotAnswered: it does not exist, or nothing could be committed.
        KafkaError: the cluster cannot be asked.
    """
    from aiokafka import TopicPartition

    from streams.commands.group_commit import commit
    from streams.commands.installation import describe, group_offsets
    from streams.delivery.decisions import acceptance_id, with_accepted
    from streams.delivery.transaction import Position

    topic, partition = topic_partition
    names = installation.names
    whose = names.actions if topic == names.statuses else topic  # a worker may use the id of a lane's topic
    kept_for = TopicPartition(installation.names.dead_letters, partition)
    described = await describe(installation)
    described.require(topic, kept_for.topic)
    described.require_partitions(topic, [partition])
    described.require_partitions(kept_for.topic, [partition])
    async with group_offsets(installation) as offsets:
        extents = await offsets.extents([topic_partition, kept_for])
        first, end = extents[topic_partition]
        committed = (await offsets.committed(topic_partition)).offset
        begin = first if committed is None else committed
        before = end if where == "latest" else int(where)
        is_passed = where == "latest" and begin == end > 0
        if not (begin < before <= end or is_passed):
            raise WrongUse(
                f"the group's offset in {topic}/{partition} is {begin:,}, and the log ends at {end:,}:"
                f" nothing is to be accepted before {before:,}"
            )
        await commit(
            installation,
            offsets,
            kept_for,
            lambda now: Position(extents[kept_for].end, with_accepted(now, topic, before)),
            acceptance_id(installation.group, TopicPartition(whose, partition)),
        )
    which = "those that the group has passed" if is_passed else counted(before - begin, "offset")
    return f"the dead letters of {topic}/{partition} are accepted up to offset {before:,}: {which}"
